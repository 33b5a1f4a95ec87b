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
run_seeds(sys.argv[1], range(6), pairs, split_by_image(pairs.image_of), queries, sys.argv[2], epochs=12)
"""

def start(out: Path, recipe: str) -> subprocess.Popen:
    "A process that trains six seeds."
    command = [sys.executable, "-c", RUN, recipe, str(out)]
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

@pytest.mark.parametrize("recipe, moments", [("A-rmlpa", [0, 1, 3]), ("E-bigjump", [2])])
def test_killed_run_resumes(tmp_path, recipe, moments):
    finish(start(tmp_path/"whole", recipe))
    whole = files(tmp_path/"whole")
    for models in moments:
        out = tmp_path/f"killed-{models}"
        kill_when(start(out, recipe), out/"seeds", models)
        assert all(path.stat().st_size for path in (out/"seeds").glob("[!.]*.pth"))
        finish(start(out, recipe))
        again = files(out)
        assert again.keys() == whole.keys()
        assert [name for name in whole if again[name] != whole[name]] == []
