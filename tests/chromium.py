"A headless Chromium for the tests of pages; without one, they are skipped."
import shutil

import pytest

pytest.importorskip("selenium")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver",
                allow_module_level=True)
from selenium import webdriver

FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking",
         "window-size=1280,1000")

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
