"""Open the inspector in Chromium many times: is every part there, and how long does the first view take?

    .venv/bin/python bench/openings.py --out . --data ../shared/flickr8k --count 20

--out is the folder of a run. The server has read it before it tells its address, which is timed as well.
"""
import argparse, statistics, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
import chromium
from project import free_port
from selenium.webdriver.support.ui import WebDriverWait

# what is blank, of all that the first view shows
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


def opened(driver, address):
    "Seconds until a new tab shows everything; what is still blank after a minute is an error."
    old = driver.current_window_handle
    driver.switch_to.new_window("tab")
    new, began = driver.current_window_handle, time.perf_counter()
    driver.get(address)
    WebDriverWait(driver, 60, .02).until(lambda d: not d.execute_script(BLANK), "blank: the parts above")
    seconds = time.perf_counter() - began
    driver.switch_to.window(old)
    driver.close()
    driver.switch_to.window(new)
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=".")
    parser.add_argument("--data")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    command = [sys.executable, "-m", "latentkit", "inspect", "--no-browser", "--port", port := str(free_port()),
               "--out", options.out, *(["--data", options.data] if options.data else [])]
    began = time.perf_counter()
    server, driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True), None
    try:
        while "Serving" not in (line := server.stdout.readline()):
            assert line, "the server has ended"
        print(f"the address is told after {time.perf_counter() - began:.1f} s")
        driver = chromium.started()
        seconds = [opened(driver, f"http://localhost:{port}") for _ in range(options.count)]
    finally:
        if driver:
            driver.quit()
        server.terminate()
        server.wait()
    print(f"{len(seconds)} openings, no part blank, no error in the console; "
          f"seconds: first {seconds[0]:.1f}, median {statistics.median(seconds):.1f}, longest {max(seconds):.1f}")


if __name__ == "__main__":
    main()
