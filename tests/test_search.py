"Processes share a search; a kill, wherever it hits, costs the trial under way and nothing else."
import gc, importlib, json, multiprocessing, os, signal, socket, sys, time, traceback
from dataclasses import replace
from urllib.parse import quote

import pandas as pd
import postgres
import pytest

optuna = pytest.importorskip("optuna")
if not hasattr(os, "fork"):
    pytest.skip("children are forked, so that torch is imported once", allow_module_level=True)
import torch
from optuna.storages import RDBStorage

import latentkit.search
import latentkit.train
from latentkit.checkpoint import Checkpoint
from latentkit.data import split_by_image
from latentkit.files import InputError
from latentkit.recipes import get_recipe
from latentkit.sample import toy
from latentkit.search import SPACES, search

RESULTS, CONFIG, MODEL = FILES = "hpsearch_results.csv", "best_config.json", "best_model.pth"
fork = multiprocessing.get_context("fork")
SIZES = {"lr": [3e-4, 1e-3, 3e-3], "batch": [32, 64, 128, 256], "hidden": [4, 8, 16, 32]}
SPACE = replace(SPACES["D"], choices=SPACES["D"].choices | SIZES)
PAIRS = toy()
SPLIT = split_by_image(PAIRS.image_of, val=.25, test=.1)
FIT = latentkit.train.fit
for name in "imported", "alembic.command", "sqlalchemy.orm": # and what Optuna imports late
    importlib.import_module(name)

@pytest.fixture(autouse=True)
def quick_heart(monkeypatch):
    monkeypatch.setattr(latentkit.search, "BEAT", 1)
    monkeypatch.setattr(latentkit.search, "STALE", 8)

def child(folder, options, prepare=None):
    gc.freeze() # what the tests have imported: each training collects garbage several times
    torch.set_num_threads(1)
    sys.stdout = open(os.devnull, "w")
    if prepare:
        prepare(folder)
    search("D-wide", SPACE, PAIRS, SPLIT, folder, device="cpu", progress=False, **options)

def start(folder, options, prepare=None):
    process = fork.Process(target=child, args=(folder, options, prepare))
    process.start()
    return process

def run(folder, options, prepare=None) -> int:
    "The exit code of a search in a process of its own."
    process = start(folder, options, prepare)
    process.join()
    return process.exitcode

def check_whole(folder):
    "What is there is whole, whenever it is read."
    if (folder/RESULTS).exists():
        assert pd.read_csv(folder/RESULTS).columns[0] == "trial"
    if (folder/CONFIG).exists():
        assert json.loads((folder/CONFIG).read_text())["recipe"]["name"] == "D-wide"
    if (folder/MODEL).exists():
        assert Checkpoint.load(folder/MODEL).recipe.name == "D-wide"

def wait_for(condition, process, folder):
    while not condition():
        assert process.is_alive()
        check_whole(folder)
        time.sleep(.01)

def check_result(folder, trials):
    "Exactly the trials, and the best of them in the other two files."
    table, best = pd.read_csv(folder/RESULTS), json.loads((folder/CONFIG).read_text())
    assert table.trial.tolist() == list(range(trials)) and not table.duplicated(list(SPACE.choices)).any()
    assert set(table.state) <= {"complete", "pruned"}
    top = table[table.state == "complete"].sort_values(["mrr", "trial"], ascending=[False, True]).iloc[0]
    assert (best["trial"], best["mrr"]) == (top.trial, top.mrr)
    checkpoint = Checkpoint.load(folder/MODEL)
    assert checkpoint.recipe == SPACE.recipe(get_recipe("D-wide"), best["config"]).but(epochs=best["recipe"]["epochs"])
    assert max(line["mrr"] for line in checkpoint.history) == pytest.approx(best["mrr"])

def contents(folder):
    "What a search has found; without seconds."
    checkpoint = Checkpoint.load(folder/MODEL)
    weights = {key: value.tolist() for key, value in checkpoint.state.items()}
    return (folder/RESULTS).read_bytes(), (folder/CONFIG).read_bytes(), checkpoint.recipe, checkpoint.history, weights

def note_fits(folder, hang_at=None):
    "Note each trial's begin and end in a log; the `hang_at`-th of this process never ends."
    log, calls = folder.parent/"log.txt", []
    def note(word, recipe):
        text = f"{word} {os.getpid()} {recipe.lr} {recipe.batch_size} {recipe.model_options} {recipe.loss_options}\n"
        with open(log, "a") as file:
            file.write(text)
    def fit(recipe, *arguments, **options):
        if "report" not in options: # not a trial: the best one, mended
            return FIT(recipe, *arguments, **options)
        calls.append(recipe)
        note("begin", recipe)
        checkpoint = FIT(recipe, *arguments, **options)
        if len(calls) == hang_at:
            (folder.parent/"hangs").touch()
            while True:
                time.sleep(.05)
        note("end", recipe)
        return checkpoint
    latentkit.train.fit = fit

def check_log(log, dead, trials):
    "The killed trial was begun by the dead process and by one other; every other one began once."
    lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
    begun, ended = ([(int(pid), what) for word, pid, what in lines if word == kind] for kind in ("begin", "end"))
    assert len(ended) == trials == len({what for _, what in ended})
    lost = [what for pid, what in begun if pid == dead and (pid, what) not in ended]
    assert len(lost) == 1 and len(begun) == trials + 1
    assert [pid != dead for pid, what in begun if what == lost[0]] == [False, True]

@pytest.mark.parametrize("storage", ["folder", "url"])
def test_three_processes_share_trials_and_one_is_killed(storage, tmp_path):
    folder, options = tmp_path/"shared", dict(trials=9, epochs=2)
    if storage == "url":
        options["storage"] = f"sqlite:///{tmp_path/'study.db'}"
    victim = start(folder, options, lambda folder: note_fits(folder, hang_at=2))
    wait_for(lambda: (tmp_path/"hangs").exists(), victim, folder) # in its second trial
    others = [start(folder, options, note_fits) for _ in range(2)]
    wait_for(lambda: len(pd.read_csv(folder/RESULTS)) >= 4, others[0], folder) # they cannot end without the victim's
    victim.kill()
    victim.join()
    while any(process.is_alive() for process in others):
        check_whole(folder)
        time.sleep(.02)
    assert victim.exitcode == -signal.SIGKILL and [process.exitcode for process in others] == [0, 0]
    check_result(folder, 9)
    check_log(tmp_path/"log.txt", victim.pid, 9)
    assert (folder/"study.db").exists() == (storage == "folder")

def queue_up(folder, count):
    study = optuna.create_study(study_name="queue", storage=latentkit.search.open_storage(folder, None))
    for number in range(count):
        study.enqueue_trial({}, user_attrs={"trial": number})

def take_all(folder, barrier):
    "Take what waits in the queue of a study, and write down what it was."
    study, taken = optuna.load_study(study_name="queue", storage=latentkit.search.open_storage(folder, None)), []
    barrier.wait()
    while (trial := study.ask()).user_attrs:
        taken.append(str(trial.number))
    (folder/f"taken-{os.getpid()}").write_text("\n".join(taken))

def test_a_queued_trial_is_taken_once(tmp_path):
    "Also from SQLite, which does not lock rows."
    first = fork.Process(target=queue_up, args=(tmp_path, 12)) # no connection is open when the others are forked
    first.start()
    first.join()
    barrier = fork.Barrier(3)
    takers = [fork.Process(target=take_all, args=(tmp_path, barrier)) for _ in range(3)]
    for process in takers:
        process.start()
    for process in takers:
        process.join()
    taken = sum([path.read_text().split() for path in tmp_path.glob("taken-*")], [])
    assert sorted(map(int, taken)) == list(range(12)) and not any(process.exitcode for process in takers)

def test_machines_share_a_database(tmp_path):
    "Each has a folder of its own, and both end with the same files."
    options = dict(trials=6, epochs=2, storage=f"sqlite:///{tmp_path/'study.db'}")
    machines = [start(tmp_path/name/"out", options, lambda folder: note_fits(folder.parent)) for name in ("one", "two")]
    for process in machines:
        process.join()
    assert [process.exitcode for process in machines] == [0, 0]
    assert contents(tmp_path/"one"/"out") == contents(tmp_path/"two"/"out")
    check_result(tmp_path/"one"/"out", 6)
    assert (tmp_path/"log.txt").read_text().count("end") == 6

@pytest.fixture(scope="module")
def server():
    "The URL of a PostgreSQL, with its password."
    with postgres.cluster() as address:
        yield f"postgresql://me:{quote(postgres.PASSWORD, safe='')}@{address}"

def wait_for_victim(folder):
    "Note trials, and end none before the victim hangs in its own."
    note_fits(folder)
    noted = latentkit.train.fit
    def fit(*arguments, **options):
        while not (folder.parent/"hangs").exists():
            time.sleep(.01)
        return noted(*arguments, **options)
    latentkit.train.fit = fit

def test_machines_share_postgresql_and_one_is_killed(server, tmp_path):
    "Three begin at once in an empty database, each in a folder of its own; the killed one's trial is run again."
    options, (lost, one, two) = dict(trials=9, epochs=2, storage=server), [tmp_path/name for name in ("lost", "a", "b")]
    others = [start(folder, options, wait_for_victim) for folder in (one, two)]
    victim = start(lost, options, lambda folder: note_fits(folder, hang_at=2))
    wait_for(lambda: (tmp_path/"hangs").exists(), victim, lost)
    victim.kill()
    for process in victim, *others:
        process.join()
    assert victim.exitcode == -signal.SIGKILL and [process.exitcode for process in others] == [0, 0]
    assert contents(one) == contents(two)
    check_result(one, 9)
    check_log(tmp_path/"log.txt", victim.pid, 9)
    storage = latentkit.search.open_storage(tmp_path, server)
    study = optuna.load_study(study_name=None, storage=storage) # raises where there is more than one
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert sorted(trial.user_attrs["trial"] for trial in done) == list(range(9))
    assert json.loads((one/CONFIG).read_text())["mrr"] == max(trial.value for trial in done)
    storage.engine.dispose()
    for path in filter(os.path.isfile, tmp_path.rglob("*")):
        assert not any(word.encode() in path.read_bytes() for word in (postgres.PASSWORD, quote(postgres.PASSWORD)))

@pytest.fixture
def silent():
    "A server that takes connections and never answers."
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]

@pytest.mark.parametrize("change, said", [(("/postgres", "/nowhere"), "database .nowhere. does not exist"),
                                          (("//me:", "//me:not"), "password authentication failed"),
                                          (("{port}", "{silent}"), "timeout"), (("{port}", "1"), "refused")])
def test_a_server_that_cannot_be_used_is_told_without_the_password(change, said, server, silent, tmp_path, monkeypatch):
    monkeypatch.setattr(latentkit.search, "ANSWER", 1 if said == "timeout" else 4)
    port = server.rpartition(":")[2].split("/")[0]
    old, new = (word.format(port=port, silent=silent) for word in change)
    with pytest.raises(InputError, match=f"(?i){said}") as caught:
        latentkit.search.open_storage(tmp_path, server.replace(old, new))
    text = "".join(traceback.format_exception(caught.value))
    assert "me:***@127.0.0.1" in text and "search again" in text
    assert postgres.PASSWORD not in text and quote(postgres.PASSWORD, safe="") not in text

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dies_after(holder, name):
    "Have this process killed just after it calls `holder.name`."
    def prepare(folder):
        function = getattr(holder, name)
        def wrapped(*arguments, **options):
            function(*arguments, **options)
            die()
        setattr(holder, name, wrapped)
    return prepare

def dies_while_writing(kind):
    "Have this process killed when half of a file of this kind is written."
    def prepare(folder):
        replaced = os.replace
        def half(source, target):
            if str(target).endswith(kind):
                os.truncate(source, os.path.getsize(source)//2)
                die()
            replaced(source, target)
        os.replace = half
    return prepare

MOMENTS = {
    "settings written": dies_after(latentkit.search, "settle"),
    "queued": dies_after(optuna.Study, "add_trial"),
    "taken from the queue": dies_after(optuna.Study, "ask"),
    "trained": dies_after(latentkit.train, "fit"),
    "checkpoint half written": dies_while_writing(".pth"),
    "checkpoint written": dies_after(Checkpoint, "save"),
    "table half written": dies_while_writing(".csv"),
    "files written": dies_after(latentkit.search, "publish"),
    "all done": dies_after(latentkit.search, "mend_best"),
}

@pytest.mark.parametrize("method", ["random", "tpe"])
def test_one_process_killed_at_every_moment_resumes(method, tmp_path, monkeypatch):
    "Killed again and again in one folder, a random search ends as it would have; TPE learns in another order."
    monkeypatch.setattr(latentkit.search, "STALE", 2)
    folder, options = tmp_path/"killed", dict(method=method, trials=12 if method == "tpe" else 7, epochs=1)
    for moment, prepare in MOMENTS.items():
        assert run(folder, options, prepare) == -signal.SIGKILL, moment
        check_whole(folder)
    assert run(folder, options) == 0
    check_result(folder, options["trials"])
    if method == "random":
        assert run(tmp_path/"whole", options) == 0
        assert contents(folder) == contents(tmp_path/"whole")

def test_killed_in_a_trial_then_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(latentkit.search, "STALE", 2)
    folder, options = tmp_path/"killed", dict(trials=4, epochs=2)
    assert run(tmp_path/"whole", options) == 0
    victim = start(folder, options, lambda folder: note_fits(folder, hang_at=3))
    wait_for(lambda: (tmp_path/"hangs").exists(), victim, folder)
    victim.kill()
    victim.join()
    assert run(folder, options, note_fits) == 0
    check_result(folder, 4)
    assert contents(folder) == contents(tmp_path/"whole")
    check_log(tmp_path/"log.txt", victim.pid, 4)

def test_a_process_that_slept_too_long_loses_its_trial(tmp_path, monkeypatch):
    "Others take the trial over; when the sleeper wakes, its result does not count, and it goes on."
    monkeypatch.setattr(latentkit.search, "STALE", 2)
    folder, options = tmp_path/"shared", dict(trials=2, epochs=2)
    def sleep(folder):
        def fit(*arguments, **options):
            RDBStorage.record_heartbeat = lambda *_: None # its heart stops
            (folder.parent/"sleeps").touch()
            while not (folder.parent/"wake").exists():
                time.sleep(.01)
            return FIT(*arguments, **options)
        latentkit.train.fit = fit
    sleeper = start(folder, options, sleep)
    wait_for(lambda: (tmp_path/"sleeps").exists(), sleeper, folder)
    assert run(folder, options) == 0
    check_result(folder, 2)
    before = contents(folder)
    (tmp_path/"wake").touch()
    sleeper.join()
    assert sleeper.exitcode == 0 and contents(folder) == before

def test_more_trials_later_are_those_of_a_longer_search(tmp_path):
    "With TPE and pruning too, where one process runs them."
    options = dict(method="tpe", epochs=1)
    assert run(tmp_path/"long", options | {"trials": 12}) == 0
    assert run(tmp_path/"short", options | {"trials": 11}) == 0
    assert run(tmp_path/"short", options | {"trials": 12}) == 0
    assert contents(tmp_path/"long") == contents(tmp_path/"short")
