"""The plan on several devices, and runs with MINUTES: whenever one is killed, there is a valid submission.

Twenty kills: .venv/bin/python tests/faults.py MINUTES --count 20
"""
import os
import signal
from pathlib import Path

import psutil
import pytest
import torch
from final import killed_in_time, tiny_data
from latentkit import anytime
from latentkit.anytime import Plan, models_of
from latentkit.data import split_by_image
from latentkit.recipes import get_recipe
from latentkit.sample import toy
from project import FORKED

CPUS = [torch.device("cpu")]*2
SMALL = get_recipe("best").but(epochs=3, model_options=dict(hidden=32), batch_size=64)

@pytest.fixture(scope="module")
def pairs():
    return toy(images=200, each=3)

@pytest.fixture
def forked(monkeypatch):
    "The processes of devices have imported already what they need, in place of new ones."
    monkeypatch.setattr(anytime, "get_context", lambda method: FORKED)

def plan_in(folder, pairs, *recipes) -> Plan:
    "A plan without hurry."
    return Plan(recipes, pairs, split_by_image(pairs.image_of, .1, .1), [folder], {})

def recipes() -> list:
    return [get_recipe("quick"), SMALL, SMALL.but(name="other", seed=7)]

def test_two_processes_make_the_models_of_one(pairs, tmp_path, capsys):
    one = {made.job.recipe.name: made for made in models_of(plan_in(tmp_path/"one", pairs, *recipes()), CPUS[:1])}
    two = {made.job.recipe.name: made for made in models_of(plan_in(tmp_path/"two", pairs, *recipes()), CPUS)}
    assert one.keys() == two.keys() == {"quick", "best", "other"}
    for name in one:
        ours, theirs = one[name].checkpoint, two[name].checkpoint
        assert all(torch.equal(ours.state[key], theirs.state[key]) for key in ours.state)
        assert (tmp_path/"two"/ours.recipe.checkpoint).is_file()
    assert "cpu other: epoch 3/3, val MRR" in capsys.readouterr().out # each process tells of its epochs

def test_a_process_that_dies_costs_its_own_model_only(pairs, tmp_path, capsys, monkeypatch, forked):
    begin = anytime.Worker.begin
    def begin_and_die(worker, job):
        pid = worker.pid.result()
        begin(worker, job)
        if job.recipe.name == "best":
            os.kill(pid, signal.SIGKILL)
    monkeypatch.setattr(anytime.Worker, "begin", begin_and_die)
    came = [made.job.recipe.name for made in models_of(plan_in(tmp_path, pairs, *recipes()), CPUS)]
    assert sorted(came) == ["other", "quick"]
    assert "best: left out, since its process on cpu has died" in capsys.readouterr().out

def test_an_error_in_a_process_is_told_as_it_was(pairs, tmp_path, forked):
    with pytest.raises(anytime.InputError, match="recipe wrong, optimiser: found"):
        list(models_of(plan_in(tmp_path, pairs, SMALL.but(name="wrong", optimiser="sgdd")), CPUS))

def test_ctrl_c_ends_the_trainings_at_work_in_good_order(pairs, tmp_path, capsys, monkeypatch, forked):
    "The models have no end of their own; what has been reached is kept, and no other is begun."
    endless = [SMALL.but(name=name, epochs=10**6) for name in ("one", "two", "three")]
    plan, wait, said = plan_in(tmp_path, pairs, *endless), anytime.wait, []
    def interrupted_wait(*given, **options):
        said.append(capsys.readouterr().out)
        if not plan.stopped and all(f"cpu {name}: epoch" in "".join(said) for name in ("one", "two")): # both train
            raise KeyboardInterrupt
        return wait(*given, **options)
    monkeypatch.setattr(anytime, "wait", interrupted_wait)
    came = list(models_of(plan, CPUS))
    assert {made.job.recipe.name for made in came} == {"one", "two"}
    assert all(made.checkpoint.metrics["interrupted"] for made in came)

def hold_workers(pairs, folder: Path, said) -> None:
    "Start the processes of two devices, tell of them, and wait to be killed."
    workers = [anytime.Worker(plan_in(folder, pairs), device, 1) for device in CPUS]
    said.send([worker.pid.result() for worker in workers])
    signal.pause()

def test_processes_end_with_a_killed_run(pairs, tmp_path):
    heard, said = FORKED.Pipe(False)
    run = FORKED.Process(target=hold_workers, args=(pairs, tmp_path, said))
    run.start()
    workers = [psutil.Process(pid) for pid in heard.recv()]
    run.kill()
    gone, alive = psutil.wait_procs(workers, 60)
    assert len(gone) == 2 and not alive

def test_a_killed_run_has_a_valid_submission_that_gets_better(tmp_path):
    assert killed_in_time(tiny_data(tmp_path/"data"), tmp_path, kills=3, seed=5) >= 3
