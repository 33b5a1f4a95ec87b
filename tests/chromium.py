"A headless Chromium for the tests of pages; without one, they are skipped."
import shutil
import time

import pytest

pytest.importorskip("selenium")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver",
                allow_module_level=True)
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
         "window-size=1280,1000")

# every text whose contrast with the nearest background is below WCAG AA: 4.5, or 3 where it is large
FAINT = """
const rgb = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number)
const light = c => { const [r, g, b] = c.map(v => v/255).map(v => v <= .04045 ? v/12.92 : ((v + .055)/1.055)**2.4)
                     return .2126*r + .7152*g + .0722*b }
const paper = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor)
                       if (c.length == 3 || c[3] > 0) return c } return [255, 255, 255] }
return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
    && !e.closest(':disabled') && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())).flatMap(e => {
  const s = getComputedStyle(e), size = parseFloat(s.fontSize), inside = e.closest('svg')
  const [a, b] = [light(rgb(inside ? s.fill : s.color)), light(paper(e))].sort((x, y) => y - x)
  const large = size >= 24 || size >= 18.66 && s.fontWeight >= 700
  return (a + .05)/(b + .05) < (large ? 3 : 4.5) ? [e.tagName + ': ' + e.textContent] : [] })
"""

# what is blank, of all that the inspector's first view shows
BLANK = """
const seen = css => [...document.querySelectorAll(css)].filter(e => e.checkVisibility())
const parts = {list: '.lk-line .text', heading: '.lk-page h3', picture: '.lk-page .picture img', menu: 'select',
               button: 'button', slider: '.noUi-handle', count: '.jupyter-widgets.widget-html'}
return Object.entries(parts).filter(([part, css]) => {
  const found = seen(css)
  return !found.length || part == 'picture' && !found.every(e => e.naturalWidth)
    || part == 'menu' && !found.every(e => e.selectedOptions.length && e.selectedOptions[0].text)
    || ['list', 'heading'].includes(part) && !found.every(e => e.textContent.trim())
}).map(([part]) => part)
"""

def started(
    **logs: str, # such as performance="ALL", beside what the console says
) -> webdriver.Chrome: # to be ended with `quit`
    "A browser with one empty page."
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument("--" + flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"} | logs)
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))

def drawn(driver: webdriver.Chrome) -> None:
    "Wait until what has changed is on the page: the end of the next frame."
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

def open_tab(driver: webdriver.Chrome, address: str) -> None:
    "Open an address in a new tab, and close the old one."
    old = driver.current_window_handle
    driver.switch_to.new_window("tab")
    new = driver.current_window_handle
    driver.switch_to.window(old)
    driver.close()
    driver.switch_to.window(new)
    driver.get(address)

def open_whole(driver: webdriver.Chrome, address: str) -> float:
    "Seconds until the inspector shows everything; what is still blank after a minute, or in the console, is an error."
    began = time.perf_counter()
    open_tab(driver, address)
    WebDriverWait(driver, 60, .02).until(lambda d: not d.execute_script(BLANK), "a part is blank")
    seconds = time.perf_counter() - began
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    return seconds
