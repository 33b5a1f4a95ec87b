"What the tests of the project as a whole share: its root, its tools, and ways to run them."
import multiprocessing
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

FORKED = multiprocessing.get_context("forkserver") # its processes are forked from one that has imported a lot
FORKED.set_forkserver_preload(["imported"])

def run(*command: str | Path, cwd: Path = ROOT, **options) -> subprocess.CompletedProcess:
    "A finished command, with what it printed as text."
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, **options)

def output(*command: str | Path, cwd: Path = ROOT, **options) -> str:
    "What a command printed; where it failed, the test fails and shows what it said."
    done = run(*command, cwd=cwd, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout

def free_port() -> int:
    "A port of this machine that nothing listens to."
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
