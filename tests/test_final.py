"The final notebook under papermill: it trains what is missing, then loads what is there."
from pathlib import Path

import pytest
from project import BIN, run

FLAGS = "{{DATA_DIR: null, OUT_DIR: {out}, RETRAIN: {retrain}, EPOCHS: 1, RECIPES: [A-rmlpa, A-mlp], BLENDS: []}}"
CHECKPOINTS = {"final_latent_mapper.pth", "final_latent_mapper.csv", "rmlpa_best_model.pth", "rmlpa_best_model.csv"}
SUBMISSION = {"val_A-mlp.npz", "gallery_data.npz", "submission_A-rmlpa.csv", "submission_A-rmlpa.npz",
              "submission_ensemble_simplex.csv"}

def final(out: Path, retrain: str):
    "The finished run of the notebook."
    flags = FLAGS.format(out=out, retrain=retrain)
    return run(BIN/"papermill", "nbs/05_final.ipynb", out/"final.ipynb", "-k", "python3", "--no-progress-bar", "-y", flags)

def submissions(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out/"submission").glob("*_*.*")}

def changed(out: Path) -> dict[str, int]:
    "When each checkpoint was written."
    return {path.name: path.stat().st_mtime_ns for path in (out/"checkpoints").iterdir()}

@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    "The folder of a run that trained two models."
    out = tmp_path_factory.mktemp("run")
    done = final(out, "auto")
    assert done.returncode == 0, done.stderr[-6000:]
    return out

def test_loading_alone_says_that_nothing_is_trained(tmp_path):
    done = final(tmp_path, "false")
    assert done.returncode and "no such checkpoint" in done.stderr
    assert not list((tmp_path/"checkpoints").iterdir())

def test_first_run_writes_checkpoints_and_submissions(trained):
    assert set(changed(trained)) == CHECKPOINTS
    assert SUBMISSION <= set(submissions(trained))

def test_second_run_loads_and_writes_the_same_submissions(trained):
    stamps, first = changed(trained), submissions(trained)
    done = final(trained, "false")
    assert done.returncode == 0, done.stderr[-6000:]
    assert changed(trained) == stamps
    assert submissions(trained) == first
