"""Open the inspector in Chromium many times: is every part there, and how long does the first view take?

    .venv/bin/python bench/openings.py --out . --data ../shared/flickr8k --count 20

--out is the folder of a run. The server has read it before it tells its address, which is timed as well.
"""
import argparse, statistics, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
import chromium
from project import free_port

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
        seconds = [chromium.open_whole(driver, f"http://localhost:{port}") for _ in range(options.count)]
    finally:
        if driver:
            driver.quit()
        server.terminate()
        server.wait()
    print(f"{len(seconds)} openings, no part blank, no error in the console; "
          f"seconds: first {seconds[0]:.1f}, median {statistics.median(seconds):.1f}, longest {max(seconds):.1f}")


if __name__ == "__main__":
    main()
