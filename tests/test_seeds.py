"A run over many seeds that is killed and started again ends with the same files as one that was left alone."
import signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest
from latentkit.data import Pairs, Queries, write_pairs, write_queries

@pytest.fixture(scope="module")
def data(tmp_path_factory):
    "A small training and test set with something to learn."
    folder, rng, of = tmp_path_factory.mktemp("data"), np.random.default_rng(0), np.repeat(np.arange(200), 3)
    cause = rng.normal(size=(200, 8))
    text = np.tanh((cause[of] + .2*rng.normal(size=(600, 8))) @ rng.normal(size=(8, 12))).astype("f4")
    words = np.array([f"caption {i}" for i in range(600)])
    write_pairs(folder/"train.npz", Pairs(text, (cause @ rng.normal(size=(8, 16))).astype("f4"), of, np.arange(600), words, np.array([f"{i}.jpg" for i in range(200)])))
    write_queries(folder/"test.clean.npz", Queries(text[:10], np.arange(10), words[:10]))
    return folder

def start(data, out, recipe):
    return subprocess.Popen([sys.executable, "-m", "latentkit.seeds", recipe, "--seeds", *"012345", "--epochs", "12", "--data", data, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def files(out):
    "All files but the training logs, which hold wall-clock times."
    return {str(path.relative_to(out)): path.read_bytes() for part in ("seeds", "submission") for path in sorted((out/part).iterdir()) if path.suffix != ".csv" or not path.with_suffix(".pth").exists()}

@pytest.mark.parametrize("recipe, moments", [("A-rmlpa", [0, 1, 3]), ("E-bigjump", [2])]) # one that can be batched, one that cannot
def test_killed_run_resumes(data, tmp_path, recipe, moments):
    whole = start(data, tmp_path/"whole", recipe)
    assert whole.wait() == 0, whole.stderr.read()
    for wanted in moments: # kill it when so many models are there
        out = tmp_path/f"killed-{wanted}"
        run = start(data, out, recipe)
        while run.poll() is None and len(list((out/"seeds").glob("[!.]*.pth"))) < wanted or wanted == 0 and not (out/"seeds").is_dir() and run.poll() is None: time.sleep(.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert all(path.stat().st_size for path in (out/"seeds").glob("[!.]*.pth"))
        again = start(data, out, recipe)
        assert again.wait() == 0, again.stderr.read()
        assert files(out).keys() == files(tmp_path/"whole").keys() and all(files(out)[name] == content for name, content in files(tmp_path/"whole").items())
