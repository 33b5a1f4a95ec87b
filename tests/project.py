"What the tests of the project as a whole share: its root, its tools, and ways to run them."
import multiprocessing
import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

FORKED = multiprocessing.get_context("forkserver") # its processes are forked from one that has imported a lot
FORKED.set_forkserver_preload(["imported"])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT/"tests"), os.environ.get("PYTHONPATH")])) # to find it

def run(*command: str | Path, cwd: Path = ROOT, **options) -> subprocess.CompletedProcess:
    "A finished command, with what it printed as text."
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, **options)

def output(*command: str | Path, cwd: Path = ROOT, **options) -> str:
    "What a command printed; where it failed, the test fails and shows what it said."
    done = run(*command, cwd=cwd, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout

def free_port() -> int:
    "A port that nothing listens to, and that no program is given by chance until the one that is meant takes it."
    while True:
        with socket.socket() as free, suppress(OSError):
            free.bind(("localhost", random.randrange(20_000, 32_000))) # below those that systems give
            return free.getsockname()[1]
