"The inspector in a real browser: served by Voila on a last run, driven by what a person sees."
import shutil, socket, subprocess, sys, time
from types import SimpleNamespace

import numpy as np
import pytest

selenium = pytest.importorskip("selenium")
pytest.importorskip("voila")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver",
                allow_module_level=True)
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from latentkit.data import read_pairs, split_by_image
from latentkit.files import InputError
from latentkit.ensemble import Predictions, blend
from latentkit.filter import read_marks
from latentkit.inspect_ui import serve
from latentkit.recipes import get_recipe
from latentkit.retrieval import full_ranks
from latentkit.sample import sample_source
from latentkit.train import fit

FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
         "window-size=1280,1000")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A last run of two closed forms and their blend, on the sample."
    out, source = tmp_path_factory.mktemp("run"), sample_source(progress=False)
    pairs = read_pairs(source.train)
    split, val = split_by_image(pairs.image_of), {}
    for name in "ridge", "pca_cosine":
        checkpoint = fit(get_recipe(name), pairs, split, progress=False)
        checkpoint.save(out/"checkpoints"/checkpoint.recipe.checkpoint)
        val[name] = checkpoint.predict(pairs, split.val)
    val["blend"] = blend(list(val.values()), [.5, .5])
    for name, latents in val.items():
        Predictions(name, latents, pairs.image_of[split.val], latents[:1], np.array([1])).save(out/"submission")
    images, target = pairs.gallery(split.val)
    ranks = {name: full_ranks(latents, pairs.image[images], target) for name, latents in val.items()}
    return SimpleNamespace(out=out, data=source.train.parent, pairs=pairs, rows=split.val, ranks=ranks)


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def started(driver, server, port):
    "Wait until the page shows a caption."
    until = time.monotonic() + 120
    while socket.socket().connect_ex(("localhost", port)):
        assert server.poll() is None and time.monotonic() < until, "the server does not start"
        time.sleep(.2)
    driver.get(f"http://localhost:{port}")
    WebDriverWait(driver, 120).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".lk h3"))


@pytest.fixture(scope="module")
def browser(run):
    "Chromium on the served app."
    port = free_port()
    call = f"from latentkit.inspect_ui import serve; serve({str(run.out)!r}, {str(run.data)!r}, {port}, browser=False)"
    server = subprocess.Popen([sys.executable, "-c", call])
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        started(driver, server, port)
        yield driver
    finally:
        driver.quit()
        server.terminate()
        server.wait(20)


def wait(browser, true, what):
    "Until the page's text is as it should be."
    patient = WebDriverWait(browser, 20, ignored_exceptions=[StaleElementReferenceException])
    patient.until(lambda d: true(d.find_element(By.CSS_SELECTOR, ".lk").text), what)


def labelled(browser, label, kind):
    return browser.find_element(By.XPATH, f"//label[normalize-space()='{label}']/..//{kind}")


def press(browser, words):
    browser.find_element(By.XPATH, f"//button[contains(normalize-space(.), '{words}')]").click()


def pictures(browser, which=""):
    "Pictures that models retrieve."
    return browser.find_elements(By.CSS_SELECTOR, f".models .strip .picture{which}")


def search_worst(browser, run, word):
    "Search for a word; the worst caption that has it."
    best = max(run.ranks, key=lambda name: (1/run.ranks[name]).mean())
    captions, ranks = run.pairs.captions[run.rows], run.ranks[best]
    wait(browser, lambda text: captions[ranks.argmax()] in text, "it begins with the best model's worst caption")
    browser.find_element(By.CSS_SELECTOR, "input[placeholder^='search']").send_keys(word)
    found = [c for c in np.argsort(-ranks, kind="stable") if word in captions[c].lower()]
    worst = found[0]
    wait(browser, lambda text: captions[worst] in text and f"rank {ranks[worst]:g}" in text, "the worst with it")
    assert f"{len(found)} of 500 captions" in browser.find_element(By.TAG_NAME, "body").text
    return worst


def compare_models(browser, run, caption):
    "Show more pictures, and two models side by side."
    assert len(pictures(browser)) == 8
    labelled(browser, "Pictures", "*[contains(@class, 'noUi-handle')]").send_keys(Keys.ARROW_RIGHT*3)
    wait(browser, lambda text: len(pictures(browser)) == 11, "the slider shows more pictures")
    Select(labelled(browser, "Model", "select")).select_by_visible_text("ridge")
    Select(labelled(browser, "Beside it", "select")).select_by_visible_text("blend")
    both = [run.ranks[name][caption] for name in ("ridge", "blend")]
    wait(browser, lambda text: all(f"rank {rank:g}" in text for rank in both) and len(pictures(browser)) == 22,
         "two models side by side, the same caption")
    assert len(pictures(browser, ".true")) == sum(rank <= 11 for rank in both)


def test_a_person_searches_compares_marks_and_asks(browser, run):
    "The mark is in the CSV, and the console has no errors."
    caption = search_worst(browser, run, "star")
    compare_models(browser, run, caption)
    said = run.pairs.captions[run.rows[caption]]
    assert said in browser.find_element(By.CSS_SELECTOR, ".picture.true").get_attribute("title")
    press(browser, "Wrong")
    wait(browser, lambda text: "wrong" in text, "the mark on the page")
    marks = read_marks(run.out/"marks.csv", run.pairs)
    assert marks.query("mark == 'wrong'").index.tolist() == [run.rows[caption]]
    press(browser, "Undo")
    wait(browser, lambda text: "wrong" not in text, "no mark on the page")
    assert not read_marks(run.out/"marks.csv", run.pairs).mark.any()
    press(browser, "Any text")
    box = browser.find_element(By.CSS_SELECTOR, "input[placeholder='type any text']")
    wait(browser, lambda text: box.is_displayed(), "a place to type")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys("a red star on snow")
    wait(browser, lambda text: "a red star on snow" in text and "changed by the edit" in text, "a typed text")
    press(browser, "Picture")
    wait(browser, lambda text: "top-ten lists" in text, "the other direction")
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors


def test_no_last_run_is_told(tmp_path):
    with pytest.raises(InputError, match="no last run here"):
        serve(str(tmp_path))
