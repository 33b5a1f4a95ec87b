"The report in a real browser: on a wide page, a tablet and a telephone, in light and dark, and printed."
import json
from dataclasses import replace

import numpy as np
import pytest

import chromium # skips where there is none
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from latentkit.data import split_by_image
from latentkit.recipes import with_flags
from latentkit.report import MOST, Run, report
from latentkit.sample import toy
from latentkit.train import fit

WIDTHS = 1280, 800, 390
SUBMITTED = "ensemble_of_all_that_reads_words"
LONG = "two dogs with a very-long-compound-word-that-does-not-break run over a beach at the sea in the evening, " * 2

VISIBLE = "return arguments[0].checkVisibility({contentVisibilityAuto: true})"


pytestmark = pytest.mark.xdist_group("report") # what its tests share is made once


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    "A report of thirteen models and blends on toy data, with pictures, long names and long captions."
    folder = tmp_path_factory.mktemp("report")
    pairs = toy(images=100, each=4, dx=8, dy=12)
    captions = np.array([LONG + c if i % 3 else c for i, c in enumerate(pairs.captions)])
    pairs = replace(pairs, captions=captions)
    for place, name in enumerate(pairs.names):
        Image.new("RGB", (60, 40), f"hsl({place*7 % 360}, 60%, 60%)").save(folder/name)
    split, random = split_by_image(pairs.image_of, .3, .3), np.random.default_rng(0)
    recipes = [with_flags("ridge"), with_flags("quick"), with_flags("A-rmlpa", epochs=2)]
    checkpoints = {recipe.name: fit(recipe, pairs, split, progress=False) for recipe in recipes}
    def with_noise(rows):
        made = {name: c.predict(pairs, rows) for name, c in checkpoints.items()}
        clean = pairs.image[pairs.image_of[rows]]
        noisy = {f"model_{k}": clean + (k+8)*random.normal(size=clean.shape).astype("f4")/9 for k in range(9)}
        return made | noisy | {SUBMITTED: clean + .7*random.normal(size=clean.shape).astype("f4")}
    weights = {SUBMITTED: dict.fromkeys(checkpoints, 1/3)}
    val, unseen = with_noise(split.val), with_noise(split.test)
    run = Run(pairs, split, val, checkpoints, weights, unseen, folder=folder, submit=SUBMITTED,
              said=f"submission.csv is {SUBMITTED}")
    path = report(folder/"report.html", run)
    assert path.stat().st_size < 5e6
    return path


@pytest.fixture(scope="module")
def browser(page):
    "Chromium on the page."
    driver = chromium.started(performance="ALL")
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def show(browser, width, media="screen", scheme="light"):
    "Lay the page out anew, from its top, and wait until it is drawn."
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.execute_script("window.scrollTo(0, 0)")
    chromium.drawn(browser)


def box_of(browser, css):
    "Where an element is in the window: left, top, width, height."
    return browser.execute_script("const b = document.querySelector(arguments[0]).getBoundingClientRect();"
                                  "return [b.left, b.top, b.width, b.height]", css)


def rows_of(browser, css):
    "At how many heights elements stand."
    return len({round(e.location["y"]) for e in browser.find_elements(By.CSS_SELECTOR, css)})


@pytest.mark.parametrize("width", WIDTHS)
def test_the_box_comes_first_and_nothing_overflows(browser, width):
    show(browser, width)
    wide, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width # a page that is too wide makes a telephone zoom out, and innerWidth grow
    lead = browser.find_element(By.CSS_SELECTOR, ".box .lead").text
    assert f"Submit submission_{SUBMITTED}.csv: unseen MRR 0." in lead
    left, top, _, height = box_of(browser, ".box")
    assert 0 < top and top + height < box_of(browser, "section")[1] and box_of(browser, ".lead")[1] < 300 and left >= 0
    assert {"expected on the leaderboard", "median rank"} <= {e.text for e in browser.find_elements(By.TAG_NAME, "dt")}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_contents_stay_in_view_and_cover_nothing(browser, width):
    show(browser, width)
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    assert len(links) == len(browser.find_elements(By.TAG_NAME, "section")) > 8
    browser.execute_script("arguments[0].click()", links[4])
    chromium.drawn(browser)
    left, top, wide, high = box_of(browser, "nav")
    heading = box_of(browser, "#part-5 h2")
    assert top == 0 and (high < 60 if wide > 300 else left + wide < heading[0]), (left, top, wide, high) # a strip
    assert (high if wide > 300 else 0) <= heading[1] < 300 # the heading is not under it


def test_folded_until_it_is_printed(browser):
    show(browser, 1280)
    tables = browser.find_elements(By.CSS_SELECTOR, "details table")
    assert len(tables) == 3 and not any(browser.execute_script(VISIBLE, table) for table in tables)
    show(browser, 700, media="print")
    assert all(browser.execute_script(VISIBLE, table) and table.size["height"] > 30 for table in tables)
    assert browser.execute_script("return getComputedStyle(document.querySelector('nav')).position") == "static"


def test_charts_and_confusions_stack_on_a_telephone(browser):
    show(browser, 1280)
    assert rows_of(browser, "#part-1 .panels img") == 1 and rows_of(browser, ".confusion") < 4
    show(browser, 799)
    assert rows_of(browser, "#part-1 .panels img") == 2 and rows_of(browser, ".confusion") == 6


def test_a_chart_has_few_models_and_names_the_others(browser):
    caption = browser.find_element(By.CSS_SELECTOR, "#part-1 figcaption").text
    out = caption.split("Left out, so that it can be read: ")[1].rstrip(".").split(", ")
    assert len(out) == 13 - MOST and SUBMITTED not in out


@pytest.mark.parametrize("width", WIDTHS)
def test_a_dot_of_the_map_says_what_it_is(browser, width):
    show(browser, width)
    dots = browser.find_elements(By.CSS_SELECTOR, ".map circle")
    assert 0 < len(dots) <= 300
    dot, said = dots[-1], browser.find_elements(By.CSS_SELECTOR, ".map .said")[-1]
    assert not said.is_displayed()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", dot)
    ActionChains(browser).move_to_element(dot).perform()
    chromium.drawn(browser)
    text = said.find_element(By.TAG_NAME, "text")
    assert said.is_displayed() and "rank " in text.text and ".jpg" in text.text and text.rect["width"] < width
    assert said.find_elements(By.TAG_NAME, "use")
    ActionChains(browser).move_to_element(browser.find_element(By.CSS_SELECTOR, ".map .keys")).perform()
    chromium.drawn(browser)
    assert not said.is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser, scheme):
    show(browser, 1280, scheme=scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(chromium.FAINT) == []
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = false)")
    browser.execute_script("document.querySelector('.box').style.color = '#888'") # the check sees faint text
    assert browser.execute_script(chromium.FAINT)
    browser.execute_script("document.querySelector('.box').style.color = ''")


def test_nothing_is_loaded_and_nothing_is_refused(browser):
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [s["params"]["request"]["url"] for s in sent if s["method"] == "Network.requestWillBeSent"]
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
