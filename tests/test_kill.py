"""The final notebook, killed at random moments and started again, ends with the bytes of an unkilled run.

Sixty kills: .venv/bin/python tests/faults.py kills --count 60
"""
import os
import signal
import subprocess
import sys
import time

import pytest
from final import differing, files, finished, flags, halves, killed_often, tiny_data
from project import ROOT

@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_data(tmp_path_factory.mktemp("data"))

@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    "The files of an unkilled run, and its seconds."
    folder, began = tmp_path_factory.mktemp("whole"), time.perf_counter()
    finished(flags(data, folder/"out"), folder/"log")
    return files(folder/"out"), time.perf_counter() - began

def test_nothing_is_lost_by_kills(data, whole, tmp_path):
    "Also: no half file under a final name, and nothing left over at the end."
    assert killed_often(data, tmp_path, *whole, kills=3, seed=13) >= 3

def test_same_bytes_without_kills(data, whole, tmp_path):
    "A second run into the same folder loads, and changes nothing."
    for _ in range(2):
        finished(flags(data, tmp_path/"out"), tmp_path/"log")
        assert differing(files(tmp_path/"out"), whole[0]) == []

def command(data, out) -> subprocess.Popen:
    "`latentkit run` in a session of its own."
    line = ["run", "--data", data, "--out", out, "--recipes", "A-rmlpa", "best", "--epochs", "2"]
    return subprocess.Popen([sys.executable, "-m", "latentkit", *map(str, line)], cwd=ROOT, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def wait_for(path, run: subprocess.Popen) -> None:
    "Until the file is there."
    while not path.exists():
        assert run.poll() is None, run.communicate()[1]
        time.sleep(.02)

def test_killed_command_is_taken_over_at_once(data, whole, tmp_path):
    "Its kernel, in a session of its own, lives on: the next run ends it, and leaves the files of an unkilled run."
    out = tmp_path/"out"
    run = command(data, out)
    wait_for(out/"checkpoints"/"rmlpa_best_model.pth", run)
    second = command(data, out) # while the first is writing
    said = second.communicate()[1]
    assert second.returncode == 2 and f"run {run.pid} on host" in said and "has been writing here since" in said
    assert said.count("\n") == 1
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not halves(files(out), whole[0])
    third = command(data, out)
    said = third.communicate()[1]
    assert third.returncode == 0, said
    found = {name: data for name, data in files(out).items() if "/final." not in name}
    assert differing(found, whole[0]) == []

def test_first_ctrl_c_ends_the_training_only(data, tmp_path):
    "The best so far is the model, the rest of the notebook runs, and the model that was not begun is left out."
    out = tmp_path/"out"
    line = ["run", "--data", data, "--out", out, "--recipes", "A-rmlpa", "best", "--epochs", "1000000"]
    run = subprocess.Popen([sys.executable, "-m", "latentkit", *map(str, line)], cwd=ROOT, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    wait_for(out/"checkpoints", run)
    time.sleep(8) # into the training; earlier it would stop the run, which the next test allows
    run.send_signal(signal.SIGINT)
    said, errors = run.communicate()
    assert run.returncode == 0, errors
    assert "Ending this model's training" in errors and "best ... left out" in said
    assert (out/"submission"/"submission_A-rmlpa.csv").is_file()

def test_second_ctrl_c_stops_the_run(data, tmp_path):
    run = command(data, tmp_path/"out")
    wait_for(tmp_path/"out"/"checkpoints", run)
    run.send_signal(signal.SIGINT)
    time.sleep(.1)
    run.send_signal(signal.SIGINT)
    errors = run.communicate()[1]
    assert run.returncode == 130 and "Stopped." in errors and "Traceback" not in errors
