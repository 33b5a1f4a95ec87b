"The inspector in a real browser: served by Voila on a last run, driven by what a person sees."
import os, shutil, socket, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest

selenium = pytest.importorskip("selenium")
pytest.importorskip("voila")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER): pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver", allow_module_level=True)
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from latentkit.data import read_pairs, split_by_image
from latentkit.ensemble import Predictions, blend
from latentkit.filter import read_marks
from latentkit.inspect_ui import main
from latentkit.retrieval import full_ranks
from latentkit.sample import sample_source
from latentkit.train import fit, get_recipe

@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A last run of two closed forms and their blend, on the sample: its folder, its pairs, its validation rows, ranks by model."
    out, source = tmp_path_factory.mktemp("run"), sample_source(progress=False)
    pairs = read_pairs(source.train)
    rows = (split := split_by_image(pairs.image_of)).val
    val = {}
    for name in "ridge", "pca_cosine":
        checkpoint = fit(get_recipe(name), pairs, split, progress=False)
        checkpoint.save(out/"checkpoints"/checkpoint.recipe.checkpoint)
        val[name] = checkpoint.predict(pairs, rows)
    val["blend"] = blend(list(val.values()), [.5, .5])
    for name, latents in val.items(): Predictions(name, latents, pairs.image_of[rows], latents[:1], np.array([1])).save(out/"submission")
    images, target = pairs.gallery(rows)
    return out, pairs, rows, {name: full_ranks(latents, pairs.image[images], target) for name, latents in val.items()}

@pytest.fixture(scope="module")
def browser(run):
    "Chromium on the served app."
    with socket.socket() as free: free.bind(("localhost", 0)); port = free.getsockname()[1]
    data = sample_source(progress=False).train.parent
    server = subprocess.Popen([sys.executable, "-m", "latentkit.inspect_ui", "--out", run[0], "--data", data, "--port", str(port), "--no-browser"])
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking", "window-size=1280,1000": options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        until = time.monotonic() + 120
        while socket.socket().connect_ex(("localhost", port)):
            assert server.poll() is None and time.monotonic() < until, "the server does not start"
            time.sleep(.2)
        driver.get(f"http://localhost:{port}")
        WebDriverWait(driver, 120).until(lambda d: d.find_elements(By.CSS_SELECTOR, ".lk h3"))
        yield driver
    finally:
        driver.quit()
        server.terminate()
        server.wait(20)

def page(browser) -> str: "What the page says."; return browser.find_element(By.CSS_SELECTOR, ".lk").text

def wait(browser, true, what):
    "Until the page is as it should be."
    WebDriverWait(browser, 20, ignored_exceptions=[selenium.common.exceptions.StaleElementReferenceException]).until(lambda d: true(page(d)), what)

def labelled(browser, label, kind): return browser.find_element(By.XPATH, f"//label[normalize-space()='{label}']/..//{kind}")

def press(browser, words): browser.find_element(By.XPATH, f"//button[contains(normalize-space(.), '{words}')]").click()

def test_what_a_person_does(browser, run):
    "Search, look, compare, ask, mark, undo; the mark is in the CSV, and the console has no errors."
    out, pairs, rows, ranks = run
    best, captions = max(ranks, key=lambda name: (1/ranks[name]).mean()), pairs.captions[rows]
    wait(browser, lambda text: captions[ranks[best].argmax()] in text, "it begins with the best model's worst caption")

    browser.find_element(By.CSS_SELECTOR, "input[placeholder^='search']").send_keys("star")
    found = [c for c in np.argsort(-ranks[best], kind="stable") if "star" in captions[c].lower()]
    wait(browser, lambda text: captions[found[0]] in text and f"rank {ranks[best][found[0]]:g}" in text, "the worst caption that has the word")
    assert f"{len(found)} of 500 captions" in browser.find_element(By.TAG_NAME, "body").text

    pictures = lambda: len(browser.find_elements(By.CSS_SELECTOR, ".lk-row img"))
    assert pictures() == 8
    labelled(browser, "Pictures", "*[contains(@class, 'noUi-handle')]").send_keys(Keys.ARROW_RIGHT*3)
    wait(browser, lambda text: pictures() == 11, "the slider shows more pictures")

    Select(labelled(browser, "Model", "select")).select_by_visible_text("ridge")
    Select(labelled(browser, "Beside it", "select")).select_by_visible_text("blend")
    wait(browser, lambda text: captions[found[0]] in text and all(f"rank {ranks[name][found[0]]:g}" in text for name in ("ridge", "blend")) and pictures() == 22, "two models side by side, the same caption")
    framed = browser.find_elements(By.CSS_SELECTOR, ".lk-row .lk-own")
    assert len(framed) == sum(ranks[name][found[0]] <= 11 for name in ("ridge", "blend"))
    assert captions[found[0]] in browser.find_element(By.CSS_SELECTOR, ".lk-own").get_attribute("title")

    press(browser, "Wrong")
    wait(browser, lambda text: "wrong" in text, "the mark on the page")
    assert read_marks(out/"marks.csv", pairs).query("mark == 'wrong'").index.tolist() == [rows[found[0]]]
    press(browser, "Undo")
    wait(browser, lambda text: "wrong" not in text, "no mark on the page")
    assert not read_marks(out/"marks.csv", pairs).mark.any()

    press(browser, "Any text")
    box = browser.find_element(By.CSS_SELECTOR, "input[placeholder='type any text']")
    wait(browser, lambda text: box.is_displayed(), "a place to type")
    box.send_keys(Keys.CONTROL, "a"); box.send_keys("a red star on snow")
    wait(browser, lambda text: "a red star on snow" in text and "changed by the edit" in text, "a typed text")
    press(browser, "Picture")
    wait(browser, lambda text: "top-ten lists" in text, "the other direction")
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors

def test_no_last_run(tmp_path):
    with pytest.raises(SystemExit, match="no last run here"): main(["--out", str(tmp_path)])
