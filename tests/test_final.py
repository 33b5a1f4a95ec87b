"The final notebook under papermill: it trains what is missing, then loads what is there."
import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from final import Run, tiny_data
from final import flags as tiny_flags
from project import BIN, ROOT, run

FLAGS = "{{DATA_DIR: {data}, OUT_DIR: {out}, RETRAIN: {retrain}, EPOCHS: 1, RECIPES: [A-rmlpa, A-mlp], BLENDS: [best]}}"
CHECKPOINTS = {f"{name}.{end}" for end in ("pth", "csv") for name in (
    "final_latent_mapper", "rmlpa_best_model", "best_model", "best_256_best_model", "best_random_best_model")}
SUBMISSION = {"val_A-mlp.npz", "gallery_data.npz", "submission_A-rmlpa.csv", "submission_A-rmlpa.npz",
              "submission_ensemble_simplex.csv", "submission_ensemble_best.csv"}

def final(data: Path, out: Path, retrain: str) -> CompletedProcess:
    "The finished run of the notebook."
    options = "-k", "python3", "--no-progress-bar", "-y", FLAGS.format(data=data, out=out, retrain=retrain)
    return run(BIN/"papermill", "nbs/05_final.ipynb", out/"final.ipynb", *options)

def submissions(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out/"submission").glob("*_*.*")}

def changed(out: Path) -> dict[str, int]:
    "When each checkpoint was written."
    return {path.name: path.stat().st_mtime_ns for path in (out/"checkpoints").iterdir()}

def test_default_run_leaves_out_what_takes_hours():
    "The blends of 2 and 3 models need A-stitcher, and the notebook says so."
    cells = json.loads((ROOT/"nbs"/"05_final.ipynb").read_text("utf-8"))["cells"]
    default, = ("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    exec(default, flags := {})
    assert flags["RECIPES"] is flags["BLENDS"] is flags["MINUTES"] is None
    text = "\n".join("".join(cell["source"]) for cell in cells)
    assert 'if MINUTES else ["A-mlp", "A-rmlpa", "best"]\n' in text
    assert "A-stitcher is left out by default: it takes up to half of the run" in text

def test_loading_alone_says_that_nothing_is_trained(data, tmp_path):
    done = final(data, tmp_path, "false")
    assert done.returncode and done.stderr.count("no such checkpoint") >= 2
    assert "A-rmlpa (" in done.stderr and "A-mlp (" in done.stderr # all that is missing, with its recipe
    assert not list((tmp_path/"checkpoints").iterdir())

@pytest.mark.parametrize("flags, said", [
    ({"RETRAIN": False, "MINUTES": 5}, "RETRAIN: found no model that may be loaded"),
    ({"MINUTES": "60"}, "MINUTES: found '60'"),
    ({"MINUTES": 0}, "MINUTES: found 0"),
])
def test_nothing_to_do_is_told_and_leaves_no_results(tmp_path, flags, said):
    run = Run(tiny_flags(tiny_data(tmp_path/"data"), tmp_path/"out", **flags), tmp_path/"log")
    code, text = run.wait()
    assert code and said in text and "KeyError" not in text, text[-3000:]
    assert not list((tmp_path/"out"/"submission").iterdir())

def test_first_run_trains_and_second_run_loads(data, tmp_path):
    done = final(data, tmp_path, "auto")
    assert done.returncode == 0, done.stderr[-6000:]
    stamps, first = changed(tmp_path), submissions(tmp_path)
    assert set(stamps) == CHECKPOINTS
    assert SUBMISSION <= set(first)

    done = final(data, tmp_path, "false")
    assert done.returncode == 0, done.stderr[-6000:]
    assert changed(tmp_path) == stamps
    assert submissions(tmp_path) == first
