"Without latentkit installed, the final notebook's first cell imports it from an attached dataset."
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

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

def attach(folder: Path) -> Path:
    "A dataset's folder, as Kaggle mounts one."
    dataset = folder/"input"/"datasets"/"someone"/"latentkit-dataset"
    dataset.mkdir(parents=True)
    return dataset

def test_folder_is_found(copy, tmp_path):
    dataset = attach(tmp_path)
    shutil.copytree(copy/"latentkit", dataset/"latentkit")
    assert imported_from(tmp_path).is_relative_to(dataset)

def test_wheel_is_found_and_holds_the_whole_package(copy, tmp_path):
    dataset = attach(tmp_path)
    output(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", dataset, copy)
    assert imported_from(tmp_path).is_relative_to(tmp_path/"site")

    packed = zipfile.ZipFile(next(dataset.glob("*.whl")))
    files = {str(path.relative_to(copy)) for path in (copy/"latentkit").rglob("*") if path.is_file()}
    assert {name for name in packed.namelist() if name.startswith("latentkit/")} == files
    console = next(name for name in packed.namelist() if name.endswith("entry_points.txt"))
    assert "latentkit = latentkit.commands:main" in packed.read(console).decode()
