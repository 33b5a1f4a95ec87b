"The inspector in a real browser: served by Voila on a last run, driven as a person would."
import socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

pytest.importorskip("voila")
import chromium # skips where there is none
from project import free_port
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from latentkit.data import read_pairs, split_by_image
from latentkit.ensemble import Predictions, blend
from latentkit.filter import read_marks
from latentkit.recipes import get_recipe
from latentkit.retrieval import full_ranks
from latentkit.sample import sample_source
from latentkit.train import fit

pytestmark = pytest.mark.xdist_group("browser") # one browser and one server for all


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


PAGE = ".lk-page .lk"


def opened(driver, address, showing=PAGE + " h3"):
    "Open the app in a new tab, until it shows something."
    chromium.open_tab(driver, address)
    WebDriverWait(driver, 120).until(lambda d: d.find_elements(By.CSS_SELECTOR, showing))


@pytest.fixture(scope="module")
def browser(run):
    "Chromium on the served app."
    port = free_port()
    call = f"from latentkit.serve import serve; serve({str(run.out)!r}, {str(run.data)!r}, {port}, browser=False)"
    server = subprocess.Popen([sys.executable, "-c", call])
    driver = chromium.started()
    driver.address = f"http://localhost:{port}"
    driver.server = psutil.Process(server.pid)
    try:
        until = time.monotonic() + 120
        while socket.socket().connect_ex(("localhost", port)):
            assert server.poll() is None and time.monotonic() < until, "the server does not start"
            time.sleep(.2)
        opened(driver, driver.address)
        yield driver
    finally:
        driver.quit()
        server.terminate()
        server.wait(20)


@pytest.fixture(autouse=True)
def silent(browser):
    "No test leaves an error in the console."
    yield
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors


def wait(browser, true, what):
    "Until the page's text is as it should be; what `true` gives then."
    patient = WebDriverWait(browser, 60, ignored_exceptions=[StaleElementReferenceException])
    return patient.until(lambda d: true(d.find_element(By.CSS_SELECTOR, PAGE).text), what)


def body(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def labelled(browser, label, kind):
    return browser.find_element(By.XPATH, f"//label[normalize-space()='{label}']/..//{kind}")


def press(browser, words):
    browser.find_element(By.XPATH, f"//button[contains(normalize-space(.), '{words}')]").click()


def keys(browser, *pressed):
    "Press keys where nothing has the focus."
    browser.find_element(By.TAG_NAME, "body").send_keys(*pressed)


def shown(browser, css):
    return browser.find_elements(By.CSS_SELECTOR, css)


def pictures(browser, which=""):
    "Pictures that models retrieve."
    return shown(browser, f".models .strip .picture{which}")


def marked(run, mark):
    if not (run.out/"marks.csv").exists():
        return []
    marks = read_marks(run.out/"marks.csv", run.pairs)
    return marks.query("mark == @mark").index.tolist()


def listed(browser):
    "The chosen line of the list; nothing while it is drawn or not there yet."
    return "".join(line.text for line in shown(browser, ".lk-line[aria-selected=true] .text")).strip("…")


def search_worst(browser, run, word):
    "Search for a word; the worst caption that has it, and the one after it."
    best = max(run.ranks, key=lambda name: (1/run.ranks[name]).mean())
    captions, ranks = run.pairs.captions[run.rows], run.ranks[best]
    wait(browser, lambda text: captions[ranks.argmax()] in text, "it begins with the best model's worst caption")
    browser.find_element(By.CSS_SELECTOR, "input[placeholder^='search']").send_keys(word)
    found = [c for c in np.argsort(-ranks, kind="stable") if word in captions[c].lower()]
    worst = found[0]
    wait(browser, lambda text: captions[worst] in text and f"rank {ranks[worst]:g}" in text
         and f"{len(found)} of 500 captions" in body(browser), "the worst with it")
    return found[:2]


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
    "The mark is in the CSV."
    caption, _ = search_worst(browser, run, "star")
    compare_models(browser, run, caption)
    said = run.pairs.captions[run.rows[caption]]
    assert said in browser.find_element(By.CSS_SELECTOR, ".picture.true").get_attribute("title")
    press(browser, "Wrong")
    wait(browser, lambda text: said not in text.split("\n")[:3], "the next caption")
    assert marked(run, "wrong") == [run.rows[caption]]
    press(browser, "Undo")
    wait(browser, lambda text: said in text, "the caption again")
    assert not marked(run, "wrong")
    press(browser, "Any text")
    box = browser.find_element(By.CSS_SELECTOR, "input[placeholder='type any text']")
    wait(browser, lambda text: box.is_displayed(), "a place to type")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys("a red star on snow")
    wait(browser, lambda text: "a red star on snow" in text and "changed by the edit" in text, "a typed text")
    Select(labelled(browser, "Among", "select")).select_by_visible_text("all pictures")
    wait(browser, lambda text: "among all 2,000 pictures" in text and "changed by the edit" not in text, "all of them")
    known = run.pairs.names[run.pairs.gallery(run.rows)[0]] # of validation
    titles = [picture.get_attribute("title") for picture in pictures(browser)]
    assert any(not any(name in title for name in known) for title in titles), titles


def test_the_filter_offers_groups_of_pictures(browser, run):
    opened(browser, browser.address)
    wait(browser, lambda text: f"{len(run.rows)} of {len(run.rows)} captions" in body(browser), "all captions")
    browser.find_element(By.XPATH, "//*[text()='Filter']").click()
    groups = Select(labelled(browser, "Pictures", "select"))
    wait(browser, lambda text: len(groups.options) > 2, "the groups, which are found now")
    groups.select_by_index(2)
    few = f" of {len(run.rows)} captions"
    wait(browser, lambda text: few in body(browser) and f"{len(run.rows)}{few}" not in body(browser), "one group's")


def test_a_person_walks_with_the_mouse_and_the_keys(browser, run):
    opened(browser, browser.address)
    first = wait(browser, lambda text: listed(browser), "the list, which may come after the page")
    name = pictures(browser)[1].find_element(By.TAG_NAME, "img").get_attribute("alt")
    pictures(browser)[1].click()
    wait(browser, lambda text: name in text and "Pictures like it" in text, "a click on a picture opens it")
    ActionChains(browser).move_to_element(shown(browser, ".lk-list")[0]).perform() # or what rests under it is enlarged
    link = shown(browser, PAGE + " td span[data-go]")[0]
    said = link.text
    link.send_keys(Keys.ENTER)
    wait(browser, lambda text: text.split("\n")[1].startswith(said[:20]) or said in text, "a caption opens its page")
    keys(browser, "bb")
    wait(browser, lambda text: first in text and listed(browser) == first, "back to where it began")
    keys(browser, "j")
    wait(browser, lambda text: listed(browser) not in ("", first), "the next caption")
    keys(browser, "w")
    wait(browser, lambda text: len(marked(run, "wrong")) == 1, "the mark")
    keys(browser, "u")
    wait(browser, lambda text: not marked(run, "wrong"), "no mark")
    keys(browser, Keys.END)
    wait(browser, lambda text: shown(browser, ".lk-line:last-child[aria-selected=true]"), "the last one")
    assert len(shown(browser, ".lk-line")) < 60 # only what is in view
    keys(browser, Keys.HOME, " ")
    large = shown(browser, ".lk-large")[0]
    wait(browser, lambda text: large.is_displayed() and listed(browser) == first, "enlarged, whatever came first")
    keys(browser, "j")
    wait(browser, lambda text: large.is_displayed() and listed(browser) != first, "the next caption's, enlarged")
    keys(browser, Keys.ESCAPE, "?")
    assert not large.is_displayed() and shown(browser, ".lk-sheet")[0].is_displayed()
    keys(browser, Keys.ESCAPE, "/")
    assert browser.switch_to.active_element.get_attribute("placeholder").startswith("search")


def test_a_lasso_makes_a_list_and_a_grid_marks_many(browser, run):
    opened(browser, browser.address + "#view=map&colour=cluster", ".lk-plane")
    sky = shown(browser, ".lk-plane")[0] # hidden until the groups, whose colours the link asks for, are found
    wait(browser, lambda text: float(sky.get_attribute("data-milliseconds") or 0) > 0 and sky.is_displayed(), "a map")
    lasso = ActionChains(browser).key_down(Keys.SHIFT).move_to_element_with_offset(sky, -60, -60).click_and_hold()
    for x, y in (120, 0), (0, 120), (-120, 0), (0, -100):
        lasso.move_by_offset(x, y)
    lasso.release().key_up(Keys.SHIFT).perform()
    wait(browser, lambda text: "lasso: " in browser.find_element(By.TAG_NAME, "body").get_property("textContent"),
         "a lasso")
    ActionChains(browser).move_to_element(sky).perform()
    WebDriverWait(browser, 60).until(lambda d: hovered(d, sky), "a point tells what it is")
    keys(browser, "5")
    wait(browser, lambda text: len(shown(browser, ".card")) == 12, "a page of cards")
    cards = shown(browser, ".card h4")
    cards[0].click()
    ActionChains(browser).key_down(Keys.SHIFT).click(cards[3]).key_up(Keys.SHIFT).perform()
    wait(browser, lambda text: len(shown(browser, ".card[aria-checked=true]")) == 4, "four cards")
    keys(browser, "d")
    wait(browser, lambda text: text.count("doubtful") == 4, "four marks")
    assert len(marked(run, "doubtful")) == 4
    press(browser, "Export")
    wait(browser, lambda text: (run.out/"selection.csv").is_file(), "files")
    assert len((run.out/"selection.csv").read_text().splitlines()) == 5
    keys(browser, "u")
    wait(browser, lambda text: not marked(run, "doubtful"), "no marks")


def hovered(browser, sky):
    "Move over the map until a point's tip is there."
    for x in range(-40, 41, 8):
        ActionChains(browser).move_to_element_with_offset(sky, x, x//2).pause(.1).perform()
        tip = shown(browser, ".lk-tip")[0]
        if tip.is_displayed() and tip.text:
            return True
    return False


def test_it_is_opened_twenty_times_in_a_row(browser):
    for _ in range(20):
        chromium.open_whole(browser, browser.address)


def test_many_open_it_at_once(browser):
    with ThreadPoolExecutor(4) as people:
        pages = people.map(lambda _: urlopen(browser.address, timeout=60).read(), range(4))
        assert all(b"jupyter.widget-view" in page for page in pages)


def test_a_link_leads_back_to_the_same_view(browser, run):
    opened(browser, browser.address + "#view=picture&name=ridge&picture=7&search=star")
    wait(browser, lambda text: "ridge: in" in text and str(run.pairs.names[run.pairs.gallery(run.rows)[0][7]]) in text,
         "what the address says")
    address, text = browser.current_url, shown(browser, PAGE)[0].text
    for _ in range(2):
        opened(browser, address)
        wait(browser, lambda now, text=text: now == text, "the same page")
        assert labelled(browser, "Model", "select").get_attribute("value") == "ridge"
    assert browser.current_url == address


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    chromium.drawn(browser)
    for view in "caption", "picture", "map", "grid":
        keys(browser, {"caption": "1", "picture": "3", "map": "4", "grid": "5"}[view])
        wait(browser, lambda text, view=view: f"view={view}" in browser.current_url, view)
        wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], (view, wide)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for key, view in ("1", "caption"), ("2", "text"), ("3", "picture"), ("4", "map"), ("5", "grid"):
        keys(browser, key)
        wait(browser, lambda text, view=view: f"view={view}" in browser.current_url, view)
        faint = browser.execute_script(chromium.FAINT)
        assert not faint, (view, faint)


def test_a_page_has_a_new_process_where_the_old_one_has_died(browser):
    child, = browser.server.children()
    child.kill()
    wait(browser, lambda text: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "its end")
    opened(browser, browser.address)
    wait(browser, lambda text: listed(browser), "the list again")
    replaced, = [process for process in browser.server.children() if process.status() != psutil.STATUS_ZOMBIE]
    assert replaced.pid != child.pid
