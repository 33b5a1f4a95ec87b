"The project as a whole: what is generated agrees with its source, and what is promised of files and commands holds."
import json, os, shutil, subprocess, sys
from pathlib import Path

import pytest
from readme import ROOT, readme

BIN = Path(sys.executable).parent

def run(*command, **options):
    "Run a command, and show what it said if it failed."
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout

@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "The project's own files, in a folder where commands may write."
    folder = tmp_path_factory.mktemp("copy")/"latentkit"
    shutil.copytree(ROOT, folder, ignore=lambda place, names: {n for n in names if n in {".venv", ".git", "data", "__pycache__", "dist", "build", ".pytest_cache"} or n.endswith(".egg-info")
                                                               or (Path(place).name in ("checkpoints", "submission") and n != "README.md")})
    return folder

def test_notebooks_and_modules_agree(copy):
    contents = lambda: {path.relative_to(copy): path.read_bytes() for part in ("nbs", "latentkit") for path in sorted((copy/part).rglob("*")) if path.suffix in (".py", ".ipynb")}
    before = contents()
    run(BIN/"nbdev_export", cwd=copy)
    run(BIN/"nbdev_clean", cwd=copy)
    after = contents()
    assert before.keys() == after.keys()
    assert not [str(path) for path in before if before[path] != after[path]], "run nbdev_export and nbdev_clean, and commit what they change"

def test_readme_agrees_with_index():
    assert (ROOT/"README.md").read_text(encoding="utf-8") == readme(), "run `make readme`, and commit README.md"

def test_package_needs_no_development_dependency():
    code = "import pkgutil, importlib, sys, latentkit; [importlib.import_module(f'latentkit.{m.name}') for m in pkgutil.iter_modules(latentkit.__path__)]; print([n for n in ('nbdev', 'fastcore', 'execnb', 'pytest', 'papermill') if n in sys.modules])"
    assert run(sys.executable, "-c", code).strip() == "[]"

def test_parameters_cell_is_tagged():
    cells = json.loads((ROOT/"nbs"/"05_final.ipynb").read_text())["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and all(flag in tagged[0] for flag in ("DATA_DIR", "OUT_DIR", "RETRAIN", "RECIPES", "BLENDS", "SEED", "EPOCHS", "REFIT", "DEVICE"))

FLAGS = "{{DATA_DIR: null, OUT_DIR: {out}, RETRAIN: {retrain}, EPOCHS: 1, RECIPES: [A-rmlpa, A-mlp], BLENDS: []}}"

def test_final_notebook_trains_then_loads(tmp_path):
    "Under papermill: the first run trains, RETRAIN=false fails before it and loads after it, and both runs write the same submissions."
    def final(retrain):
        return subprocess.run([BIN/"papermill", "nbs/05_final.ipynb", tmp_path/"final.ipynb", "-k", "python3", "--no-progress-bar", "-y", FLAGS.format(out=tmp_path, retrain=retrain)],
                              cwd=ROOT, capture_output=True, text=True)
    early = final("false")
    assert early.returncode and "no such checkpoint" in early.stderr and not list((tmp_path/"checkpoints").iterdir())
    assert final("auto").returncode == 0
    first = {path.name: path.read_bytes() for path in (tmp_path/"submission").glob("*_*.*")}
    assert {"val_A-mlp.npz", "gallery_data.npz", "submission_A-rmlpa.csv", "submission_A-rmlpa.npz", "submission_ensemble_simplex.csv"} <= set(first)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path/"checkpoints").iterdir()}
    assert {path.name for path in stamps} == {"final_latent_mapper.pth", "final_latent_mapper.csv", "rmlpa_best_model.pth", "rmlpa_best_model.csv"}
    assert final("false").returncode == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path/"checkpoints").iterdir()}
    assert all((tmp_path/"submission"/name).read_bytes() == content for name, content in first.items())

@pytest.mark.parametrize("form", ["wheel", "folder"])
def test_kaggle_finds_the_package(form, copy, tmp_path):
    "Without latentkit installed, the notebook's first cell imports it from an attached dataset that holds its wheel or its folder."
    attached = tmp_path/"input"/"datasets"/"someone"/"latentkit-dataset"
    attached.mkdir(parents=True)
    if form == "wheel": run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", attached, copy)
    else: shutil.copytree(copy/"latentkit", attached/"latentkit")
    cell = next("".join(c["source"]) for c in json.loads((ROOT/"nbs"/"05_final.ipynb").read_text())["cells"] if "find_latentkit" in "".join(c["source"]))
    (tmp_path/"cell.py").write_text("\n".join([
        "import sys", f"sys.path = [p for p in sys.path if p not in ('', {str(ROOT)!r})] + [{str(tmp_path/'site')!r}]",
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]", # the development install
        cell.replace("/kaggle/input", str(tmp_path/"input")), "import latentkit; print(latentkit.__file__)"]))
    where = run(sys.executable, tmp_path/"cell.py", cwd=tmp_path, env=os.environ | {"PIP_TARGET": str(tmp_path/"site"), "PYTHONPATH": ""}).splitlines()[-1]
    assert where.startswith(str(tmp_path/"site" if form == "wheel" else attached))

def test_make_says_what_is_missing(copy, tmp_path):
    "A Python that is absent, too old or without venv gets a sentence that says what to install."
    def make(body):
        (tmp_path/"python").write_text(f"#!/bin/sh\n{body}\n"); (tmp_path/"python").chmod(0o755)
        done = subprocess.run(["make", "test", f"PYTHON={tmp_path/'python'}"], cwd=copy, capture_output=True, text=True)
        assert done.returncode
        return done.stdout
    real = sys.executable
    assert "needs Python 3.10 or newer" in make(f'[ "$1" = --version ] && echo Python 3.8.1 && exit; exit 1')
    assert "lacks venv" in make(f'case "$2" in *ensurepip*) exit 1;; esac; exec {real} "$@"')
    done = subprocess.run(["make", "run", "PYTHON=no-such-python"], cwd=copy, capture_output=True, text=True)
    assert done.returncode and "No 'no-such-python' here" in done.stdout and not (copy/".venv").exists()
