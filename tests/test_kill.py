"""The final notebook, killed at random moments and started again, ends with the bytes of an unkilled run.

Sixty kills: .venv/bin/python tests/faults.py kills --count 60
"""
import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time

import papermill
import pytest
from final import differing, files, finished, flags, halves, killed_often
from project import ROOT

from latentkit.commands import execute

def test_nothing_is_lost_by_kills(data, whole, tmp_path):
    "Also: no half file under a final name, and nothing left over at the end."
    assert killed_often(data, tmp_path, whole.files, whole.seconds, kills=3, seed=13) >= 3

def test_same_bytes_without_kills(data, whole, tmp_path):
    "A second run into the same folder loads, and changes nothing."
    for _ in range(2):
        finished(flags(data, tmp_path/"out"), tmp_path/"log")
        assert differing(files(tmp_path/"out"), whole.files) == []

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
    assert not halves(files(out), whole.files)
    third = command(data, out)
    said = third.communicate()[1]
    assert third.returncode == 0, said
    found = {name: data for name, data in files(out).items() if "/final." not in name}
    assert differing(found, whole.files) == []

def interrupted(data, out, seconds: float) -> tuple[int, str, str]: # exit code, output, errors
    "A long run that gets one Ctrl-C so many seconds after it began to load or train."
    line = ["run", "--data", data, "--out", out, "--recipes", "best", "A-rmlpa", "--epochs", "1000000"]
    run = subprocess.Popen([sys.executable, "-m", "latentkit", *map(str, line)], cwd=ROOT, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    said = ""
    while "epochs:" not in said:
        said += (line := run.stdout.readline())
        assert line, run.stderr.read()
    time.sleep(seconds)
    run.send_signal(signal.SIGINT)
    rest, errors = run.communicate()
    return run.returncode, said + rest, errors

def test_first_ctrl_c_ends_the_training_only(data, tmp_path):
    "The best so far is the model, the rest of the notebook runs, and the model that was not begun is left out."
    for seconds in 4, 16, 64: # a Ctrl-C before the training stops the run
        code, said, errors = interrupted(data, tmp_path/"out", seconds)
        assert "Ending this model's training" in errors and "Traceback" not in errors + said
        if code == 0:
            break
        assert code == 130 and "Stopped." in errors
    assert code == 0 and "[2/2] A-rmlpa ... left out: " in said
    assert (tmp_path/"out"/"submission"/"submission_best.csv").is_file()

def test_second_ctrl_c_stops_the_run(data, tmp_path):
    run = command(data, tmp_path/"out")
    wait_for(tmp_path/"out"/"checkpoints", run)
    run.send_signal(signal.SIGINT)
    time.sleep(.1)
    run.send_signal(signal.SIGINT)
    errors = run.communicate()[1]
    assert run.returncode == 130 and "Stopped." in errors and "Traceback" not in errors

def test_an_error_that_nobody_waited_for_is_not_shown(monkeypatch, caplog, tmp_path):
    "A cell may fail by the first Ctrl-C in the moment in which the second one stops the command."
    async def fails():
        raise RuntimeError("Traceback")
    def stopped(*_, **__):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(asyncio.wait([loop.create_task(fails())]))
        loop.close()
        raise KeyboardInterrupt
    monkeypatch.setattr(papermill, "execute_notebook", stopped)
    for debug in True, False:
        caplog.clear()
        caplog.set_level(logging.ERROR, "asyncio") # whatever an earlier run has left
        with pytest.raises(KeyboardInterrupt):
            execute(tmp_path/"any.ipynb", tmp_path/"out.ipynb", {}, debug)
        gc.collect()
        assert bool(caplog.records) == debug
