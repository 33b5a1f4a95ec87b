"A run over many seeds that is killed and started again ends with the same files as one that was left alone."
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import sys
import numpy as np
from latentkit.data import Queries, split_by_image
from latentkit.sample import toy
from latentkit.seeds import run_seeds

pairs = toy(images=200, each=3, dx=12, dy=16, causes=8)
queries = Queries(pairs.text[:10], np.arange(10), pairs.captions[:10])
run_seeds("A-rmlpa", range(6), pairs, split_by_image(pairs.image_of), queries, sys.argv[1], epochs=12)
"""

def start(out: Path) -> subprocess.Popen:
    "A process that trains six seeds."
    command = [sys.executable, "-c", RUN, str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def finish(run: subprocess.Popen) -> None:
    "Wait for a process that must succeed."
    _, errors = run.communicate()
    assert run.returncode == 0, errors

def kill_when(run: subprocess.Popen, folder: Path, models: int) -> None:
    "Kill a process as soon as the folder holds so many models, unless it ends before."
    while run.poll() is None and not (folder.is_dir() and len(list(folder.glob("[!.]*.pth"))) >= models):
        time.sleep(.01)
    run.send_signal(signal.SIGKILL)
    run.communicate()

def files(out: Path) -> dict[str, bytes]:
    "All files but the training logs, which hold wall-clock times."
    found = [path for part in ("seeds", "submission") for path in (out/part).iterdir()]
    logs = {path.with_suffix(".csv") for path in found if path.suffix == ".pth"}
    return {str(path.relative_to(out)): path.read_bytes() for path in found if path not in logs}

@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    "The files of a run that was left alone."
    out = tmp_path_factory.mktemp("whole")
    finish(start(out))
    return files(out)

@pytest.mark.parametrize("models", [0, 1, 3])
def test_killed_run_resumes(tmp_path, whole, models):
    kill_when(start(tmp_path), tmp_path/"seeds", models)
    assert all(path.stat().st_size for path in (tmp_path/"seeds").glob("[!.]*.pth"))
    finish(start(tmp_path))
    again = files(tmp_path)
    assert again.keys() == whole.keys()
    assert [name for name in whole if again[name] != whole[name]] == []
