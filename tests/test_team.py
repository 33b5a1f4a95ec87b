"One recipe on two processes: what one process gives, they give together."
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import team
from final import tiny_data
from project import BIN, FORKED, free_port

from latentkit.checkpoint import Checkpoint
from latentkit.recipes import get_recipe

def together(folder: Path, size: int, *what: str) -> list[int]:
    "Do something in so many processes, see `team.work`; their exit codes."
    port = free_port()
    started = [FORKED.Process(target=team.work, args=(rank, size, port, folder, *what)) for rank in range(size)]
    try:
        for process in started:
            process.start()
        for process, most in zip(started, [300, *[60]*size]): # the others hear that the first has ended
            process.join(most)
        return [process.exitcode for process in started]
    finally:
        for process in started:
            if process.pid:
                process.kill()
                process.join()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[dict]]:
    "What one process finds, and what two find together, by what they do."
    folder, work = tmp_path_factory.mktemp("found"), ("losses", "recipes")
    for size in 1, 2:
        assert together(folder, size, *work) == [0]*size
    return {what: [json.loads((folder/f"{what}-{size}.json").read_text()) for size in (1, 2)] for what in work}


@pytest.mark.xdist_group("found")
def test_every_loss_and_its_gradient_are_those_of_the_whole_batch(found):
    one, two = found["losses"]
    assert one.keys() == two.keys() and len(one) >= 9
    for name in one:
        assert np.abs(one[name]).max() > 1e-3 and np.allclose(one[name], two[name], atol=1e-5), name


@pytest.mark.xdist_group("found")
def test_ten_recipes_end_as_in_one_process(found):
    one, two = found["recipes"]
    assert len(one) == 10 and all(abs(one[name] - two[name]) < .003 for name in one), (one, two)


@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
def test_a_killed_training_goes_on_in_another_number_of_processes(tmp_path, before, after):
    assert together(tmp_path, before, "killed")[0] == 9
    assert (tmp_path/"training.unfinished").is_file()
    assert together(tmp_path, after, "resume") == [0]*after
    epochs = json.loads((tmp_path/f"resume-{after}.json").read_text())["epochs"]
    assert len(epochs) == 5 and epochs[-1] > epochs[0]


def files_of(out: Path) -> set[str]:
    "Names of what a run has written."
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_two_machines_run_the_notebook_together(tmp_path):
    "Two launchers that meet over TCP, as on two machines; beside them one process, with the same flags."
    pytest.importorskip("accelerate")
    data, port = tiny_data(tmp_path/"data"), str(free_port())
    outs = [tmp_path/f"out{number}" for number in range(3)]
    def machine(rank: int) -> list:
        return [BIN/"accelerate", "launch", "--num_machines=2", "--num_processes=2", f"--machine_rank={rank}",
                "--main_process_ip=127.0.0.1", f"--main_process_port={port}", "--dynamo_backend=no",
                "--mixed_precision=no", "--multi_gpu"]
    words = "-m", "latentkit", "run", "--data", data, "--recipes", "A-rmlpa", "best", "--epochs", "2", "--out"
    launchers = machine(0), machine(1), [sys.executable]
    started = [subprocess.Popen([*launcher, *words, out], text=True, cwd=tmp_path, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT) for launcher, out in zip(launchers, outs)]
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert "2 processes train each recipe together" in said[0] and "Submit" in said[0]
    assert "together" not in said[2]
    assert not files_of(outs[1]) and files_of(outs[0]) == files_of(outs[2])
    for name in "A-rmlpa", "best":
        file = Path("checkpoints")/get_recipe(name).checkpoint
        together, single = Checkpoint.load(outs[0]/file), Checkpoint.load(outs[2]/file)
        assert together.recipe == single.recipe and together.fingerprint == single.fingerprint
        assert together.history[-1]["epoch"] == single.history[-1]["epoch"] == 2
        assert abs(together.history[0]["mrr"] - single.history[0]["mrr"]) < 1e-4 # before dropout has drawn
