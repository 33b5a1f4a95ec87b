"On Kaggle the final notebook finds latentkit, the data and earlier checkpoints among what is attached."
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import final
import pytest
from latentkit.checkpoint import checkpoint_folders
from latentkit.data import find_data
from latentkit.kaggle import write_kaggle
from lay_out import attach, on_kaggle
from project import ROOT, output

def first_cell() -> str:
    "The cell that looks for latentkit."
    cells = json.loads((ROOT/"nbs"/"05_final.ipynb").read_text("utf-8"))["cells"]
    return next(source for source in map("".join, (cell["source"] for cell in cells)) if "find_latentkit" in source)

def imported_from(folder: Path) -> Path:
    "Where the first cell imports latentkit from, when folder/input is what Kaggle mounts and folder/site is for pip."
    site = folder/"site"
    script = [
        "import sys",
        f"sys.path = [path for path in sys.path if path not in ('', {str(ROOT)!r})] + [{str(site)!r}]",
        "sys.meta_path = [finder for finder in sys.meta_path if 'editable' not in repr(finder)] # this installation",
        first_cell().replace("/kaggle/input", str(folder/"input")),
        "import latentkit",
        "print(latentkit.__file__)",
    ]
    (folder/"cell.py").write_text("\n".join(script))
    env = os.environ | {"PIP_TARGET": str(site), "PYTHONPATH": ""}
    return Path(output(sys.executable, folder/"cell.py", cwd=folder, env=env).splitlines()[-1])

def dataset_in(folder: Path) -> Path:
    "A dataset's folder, as Kaggle mounts one."
    dataset = folder/"input"/"datasets"/"someone"/"latentkit-dataset"
    dataset.mkdir(parents=True)
    return dataset

def test_folder_is_found(copy, tmp_path):
    dataset = dataset_in(tmp_path)
    shutil.copytree(copy/"latentkit", dataset/"latentkit")
    assert imported_from(tmp_path).is_relative_to(dataset)

def test_wheel_is_found_and_holds_the_whole_package(copy, tmp_path):
    dataset = dataset_in(tmp_path)
    output(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", dataset, copy)
    assert imported_from(tmp_path).is_relative_to(tmp_path/"site")

    packed = zipfile.ZipFile(next(dataset.glob("*.whl")))
    files = {str(path.relative_to(copy)) for path in (copy/"latentkit").rglob("*") if path.is_file()}
    assert {name for name in packed.namelist() if name.startswith("latentkit/")} == files
    console = next(name for name in packed.namelist() if name.endswith("entry_points.txt"))
    assert "latentkit = latentkit.commands:main" in packed.read(console).decode()

@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    "A folder in place of Kaggle's input, and what a forked run does first to believe it."
    monkeypatch.delenv("LATENTKIT_DATA", raising=False)
    place = tmp_path/"input"
    place.mkdir()
    def believe():
        find_data.__defaults__ = None, place, tmp_path/"none"
        checkpoint_folders.__defaults__ = None, place
    return place, believe

def test_data_and_checkpoints_of_an_earlier_run_are_found(kaggle, tmp_path):
    place, believe = kaggle
    data = final.tiny_data(place/"competition")
    earlier, out = place/"notebooks"/"earlier", tmp_path/"out"
    earlier.parent.mkdir()
    final.finished(final.flags(data, earlier), tmp_path/"log")
    said = final.finished(final.flags(data, out, DATA_DIR=None, RETRAIN=False), tmp_path/"log", believe)
    assert f"train: {data}/train.npz\ntest: {data}/test.clean.npz" in said
    for name in "best_model.pth", "rmlpa_best_model.pth":
        assert f"loaded {earlier}/checkpoints/{name}" in said
        assert (out/"checkpoints"/name).read_bytes() == (earlier/"checkpoints"/name).read_bytes()
    assert (out/"submission"/"submission.csv").read_bytes() == (earlier/"submission"/"submission.csv").read_bytes()

@pytest.mark.parametrize("attached", [[], ["one", "two"]], ids=["nothing", "two"])
def test_wrong_attachments_end_the_run_before_it_writes(attached, kaggle, tmp_path):
    place, believe = kaggle
    for name in attached:
        final.tiny_data(place/name)
    code, said = final.Run(final.flags(place, tmp_path/"out", DATA_DIR=None), tmp_path/"log", believe).wait()
    assert code == 2 and "DATA_DIR" in said and not list((tmp_path/"out").rglob("*.*v"))
    assert all(f"{place}/{name}/train.npz" in said for name in attached) and ("nothing" in said) == (not attached)

# what Kaggle does with a notebook: all cells, in order; the flags are those of a tiny run
PLAY = """
import json, sys
from pathlib import Path
assert len(Path("/proc/net/route").read_text().splitlines()) <= 1, "there is a way out"
try:
    Path("/kaggle/input/new").touch()
    raise SystemExit("the input can be written")
except OSError:
    pass
sys.path = [path for path in sys.path if path not in ("", {root!r})] + ["/kaggle/site"]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)] # this installation
space = dict(display=print, __name__="__main__")
for cell in json.loads(Path({notebook!r}).read_text("utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
    if "parameters" in cell["metadata"].get("tags", []):
        space.update(RECIPES=["A-rmlpa", "best"], BLENDS=[], EPOCHS=2, RETRAIN={retrain!r})
print("latentkit came from", space["find_latentkit"]().__file__)
"""

def played(notebook: Path, place: Path, working: Path, retrain: bool | str) -> str: # what it printed
    "Run the uploaded notebook where only Kaggle's input is there."
    working.mkdir()
    script = working.with_suffix(".py")
    script.write_text(PLAY.format(root=str(ROOT), notebook=str(notebook), retrain=retrain))
    env = os.environ | {"PIP_TARGET": "/kaggle/site", "PYTHONPATH": "", "LATENTKIT_CACHE": "/kaggle/cache"}
    done = on_kaggle(place, working, sys.executable, script, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout

def test_uploaded_notebook_runs_read_only_without_network_and_goes_on(tmp_path):
    (tmp_path/"empty").mkdir()
    if (done := on_kaggle(tmp_path/"empty", tmp_path/"empty", "true")).returncode:
        pytest.skip(f"no namespaces of our own here: {done.stderr.strip()}")
    (tmp_path/"competition").mkdir()
    final.tiny_data(tmp_path/"competition"/"train")
    (tmp_path/"competition"/"test").mkdir()
    (tmp_path/"competition"/"train"/"test.clean.npz").rename(tmp_path/"competition"/"test"/"test.clean.npz")
    names = "someone", "a-competition", "latentkit"
    notebook = ROOT/"nbs"/"05_final.ipynb"
    assert write_kaggle(tmp_path/"to-kaggle", notebook, *names, tmp_path/"none") == []
    uploaded = tmp_path/"to-kaggle"/"kernel"/"05_final.ipynb"

    first = attach(tmp_path/"to-kaggle", tmp_path/"first", tmp_path/"competition")
    said = played(uploaded, first, tmp_path/"run-1", "auto")
    assert "train: /kaggle/input/competitions/a-competition/train/train.npz" in said
    assert "latentkit came from /kaggle/site/latentkit" in said

    second = attach(tmp_path/"to-kaggle", tmp_path/"second", tmp_path/"competition", tmp_path/"run-1")
    said = played(uploaded, second, tmp_path/"run-2", False)
    one, other = tmp_path/"run-1", tmp_path/"run-2"
    for name in "best_model.pth", "rmlpa_best_model.pth":
        assert f"loaded /kaggle/input/notebooks/someone/latentkit/checkpoints/{name}" in said
        assert (one/"checkpoints"/name).read_bytes() == (other/"checkpoints"/name).read_bytes()
    assert (one/"submission"/"submission.csv").read_bytes() == (other/"submission"/"submission.csv").read_bytes()
