"A search that is killed, wherever that hits it, and taken up again ends with the same files as one that nobody has killed."
import json, multiprocessing, os, random, shutil, signal, sys, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optuna")
if not hasattr(os, "fork"): pytest.skip("children are forked, so that torch is imported once", allow_module_level=True)
import torch
from optuna.storages.journal import JournalFileBackend

import latentkit.search
from latentkit.data import Pairs, split_by_image
from latentkit.search import SPACES, search
from latentkit.train import Checkpoint, get_recipe

FILES = "hpsearch_results.csv", "best_config.json", "best_model.pth"
fork = multiprocessing.get_context("fork")
SPACE = replace(SPACES["D"], choices=SPACES["D"].choices | {"lr": [3e-4, 1e-3, 3e-3], "batch": [32, 64, 128, 256], "hidden": [4, 8, 16, 32]})

def toy(n_images=60, each=2, dx=6, dy=8):
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(n_images, 5))
    image, image_of = np.tanh(cause @ rng.normal(size=(5, dy))).astype("f4") + 1, np.repeat(np.arange(n_images), each)
    text = np.tanh((cause[image_of] + .2*rng.normal(size=(n_images*each, 5))) @ rng.normal(size=(5, dx))).astype("f4")
    return Pairs(text, image, image_of, np.arange(len(text)), np.array(["a"]*len(text)), np.array([f"{i}.jpg" for i in range(n_images)]))

PAIRS = toy()
SPLIT = split_by_image(PAIRS.image_of, val=.25, test=.1)
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]) # imports much of torch, once for all children

def die(): os.kill(os.getpid(), signal.SIGKILL)

def dying(step: int):
    "Have this process killed at the `step`-th moment that matters: before, after and amid what it writes or deletes."
    left = [step]
    def moment(act=lambda: None):
        left[0] -= 1
        if left[0] == 0: act(); die()
    def around(function):
        def wrapped(*args, **options): moment(); result = function(*args, **options); moment(); return result
        return wrapped
    os.replace, shutil.rmtree, os.unlink = around(os.replace), around(shutil.rmtree), around(os.unlink)
    append = JournalFileBackend.append_logs
    def append_logs(self, logs):
        def torn(): # half a line, its lock held
            self._lock.acquire()
            with open(self._file_path, "ab") as file: file.write(b'{"op_code":4,"worker_id":"torn')
        moment(torn); moment(); append(self, logs); moment()
    JournalFileBackend.append_logs = append_logs
    write = Path.write_bytes
    def write_bytes(self, data): # of a checkpoint
        moment(lambda: write(self, data[:len(data)//2])); return write(self, data)
    Path.write_bytes = write_bytes

def child(folder, options, step=None):
    torch.set_num_threads(1)
    sys.stdout = open(os.devnull, "w")
    if step: dying(step)
    search(get_recipe("D-wide"), SPACE, PAIRS, SPLIT, folder, device="cpu", progress=False, **options)

def run(*arguments) -> int:
    "The exit code of a search in a process of its own."
    process = fork.Process(target=child, args=arguments)
    process.start(); process.join()
    return process.exitcode

def contents(folder): return {name: (folder/name).read_bytes() for name in FILES}

def whole(folder):
    "What is there is whole, whenever it is read."
    if (folder/FILES[0]).exists(): assert pd.read_csv(folder/FILES[0]).columns[0] == "trial"
    if (folder/FILES[1]).exists(): assert json.loads((folder/FILES[1]).read_text())["recipe"]["name"] == "D-wide"
    if (folder/FILES[2]).exists(): assert Checkpoint.load(folder/FILES[2]).recipe.name == "D-wide"

@pytest.mark.parametrize("method", ["random", "tpe"])
def test_killed_at_every_moment(method, tmp_path):
    "At each moment in turn, and each time again in the same folder until the search comes through."
    options = dict(method=method, trials=3 if method == "random" else 14, epochs=1)
    assert run(tmp_path/"whole", options) == 0
    wanted, kills, step = contents(tmp_path/"whole"), 0, 1
    if method == "random":
        while run(tmp_path/f"killed-{step}", options, step): # each moment of a search, alone
            whole(tmp_path/f"killed-{step}")
            assert run(tmp_path/f"killed-{step}", options) == 0 and contents(tmp_path/f"killed-{step}") == wanted, step
            step += 1
        assert step > 60 and not list((tmp_path/f"killed-{step-1}").glob(".writing*")) and not list((tmp_path/f"killed-{step-1}"/"running").iterdir())
    rng = random.Random(0)
    while code := run(tmp_path/"again", options, 1 + kills//3 + rng.randrange(25)): # one kill after the other
        assert code == -signal.SIGKILL
        whole(tmp_path/"again")
        kills += 1
    assert kills >= 3 and contents(tmp_path/"again") == wanted

@pytest.mark.parametrize("method", ["random", "tpe"])
def test_killed_from_outside(method, tmp_path):
    "kill -9 amid a trial, just after one, and whenever; once with another process at work beside it."
    options = dict(method=method, trials=12, epochs=20)
    assert run(tmp_path/"whole", options) == 0
    wanted, seed = contents(tmp_path/"whole"), time.time_ns() % 10**6
    rng = random.Random(seed)
    folder = tmp_path/"killed"
    journal = lambda: (folder/"journal.log").read_bytes().count(b'"user_attrs"') if (folder/"journal.log").exists() else 0
    def killed(until):
        process = fork.Process(target=child, args=(folder, options))
        process.start()
        while process.is_alive() and not until(): time.sleep(.0005)
        process.kill(); process.join()
        whole(folder)
    trials = 0
    for wait in [0, 0, .02, .02, rng.random()/5, rng.random()/5]:
        killed(lambda: journal() > trials and (time.sleep(wait) or True)) # a trial has just been entered, or the next one is under way
        trials = journal()
    killed(lambda: (time.sleep(rng.random()/2) or True))
    assert run(folder, options) == 0 and contents(folder) == wanted, f"seed {seed}"
    if method == "random":
        folder = tmp_path/"beside"
        other = fork.Process(target=child, args=(folder, options))
        other.start()
        killed(lambda: journal() > 3)
        other.join() # it takes over what the killed one had claimed
        assert other.exitcode == 0 and contents(folder) == wanted, f"seed {seed}"

def test_killed_with_a_database(tmp_path, monkeypatch):
    "The claim of a killed process is void after a while; then two machines, each with a folder of its own, share what is left."
    monkeypatch.setattr(latentkit.search, "STALE", 2.)
    monkeypatch.setattr(latentkit.search, "BEAT", .3)
    options = dict(trials=6, epochs=20)
    assert run(tmp_path/"whole", options) == 0
    shared = options | {"storage": f"sqlite:///{tmp_path/'study.db'}"}
    process, table = fork.Process(target=child, args=(tmp_path/"one", shared)), tmp_path/"one"/FILES[0]
    process.start()
    while not table.exists() or table.read_text().count("\n") < 3:
        assert process.is_alive() # or it would be waited for without end
        time.sleep(.001)
    process.kill(); process.join()
    whole(tmp_path/"one")
    machines = [fork.Process(target=child, args=(tmp_path/name, shared)) for name in ("one", "two")]
    for process in machines: process.start()
    for process in machines: process.join()
    assert [process.exitcode for process in machines] == [0, 0] and contents(tmp_path/"one") == contents(tmp_path/"two") == contents(tmp_path/"whole")

def test_other_trials_do_not_move_the_choice(tmp_path):
    "The first trials of a longer search are those of a shorter one, with TPE and pruning too, where one process ran them."
    assert run(tmp_path/"long", dict(method="tpe", trials=16, epochs=4)) == run(tmp_path/"short", dict(method="tpe", trials=12, epochs=4)) == 0
    assert run(tmp_path/"short", dict(method="tpe", trials=16, epochs=4)) == 0
    assert contents(tmp_path/"long") == contents(tmp_path/"short")
