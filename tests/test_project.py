"What is generated agrees with its source, and what the project says of itself holds."
import ast
import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from project import BIN, ROOT, output
from readme import readme

FLAGS = {"DATA_DIR", "OUT_DIR", "RETRAIN", "RECIPES", "BLENDS", "SEED", "EPOCHS", "REFIT", "DEVICE"}
PAGES = [ROOT/"README.md", ROOT/"CONTRIBUTING.md", ROOT/"CHANGELOG.md", ROOT/"bench"/"README.md"]

@pytest.fixture(scope="module")
def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT/"settings.ini", encoding="utf-8")
    return config["DEFAULT"]

def contents(folder: Path) -> dict[Path, bytes]:
    "Every notebook and module below a folder."
    files = [path for part in ("nbs", "latentkit") for path in sorted((folder/part).rglob("*"))]
    return {path.relative_to(folder): path.read_bytes() for path in files if path.suffix in (".py", ".ipynb")}

def test_modules_are_those_of_the_notebooks(copy):
    before = contents(copy)
    output(BIN/"nbdev_export", cwd=copy)
    output(BIN/"nbdev_clean", cwd=copy)
    after = contents(copy)
    assert before.keys() == after.keys()
    changed = [str(path) for path in before if before[path] != after[path]]
    assert not changed, "run nbdev_export and nbdev_clean, and commit what they change"

def test_readme_is_the_index_notebook():
    assert (ROOT/"README.md").read_text("utf-8") == readme(), "run `make readme`, and commit README.md"

def test_final_notebook_has_one_parameters_cell():
    cells = json.loads((ROOT/"nbs"/"05_final.ipynb").read_text("utf-8"))["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert FLAGS <= set(re.findall(r"^(\w+)\s*=", tagged[0], re.MULTILINE))

def test_imported_package_loads_no_development_tool():
    "Each module is imported in one process, then what came with them is looked through."
    names = sorted(path.stem for path in (ROOT/"latentkit").glob("*.py") if path.stem[0] != "_")
    lines = ["import sys", *(f"import latentkit.{name}" for name in names),
             "print([name for name in ('nbdev', 'fastcore', 'execnb', 'pytest', 'papermill') if name in sys.modules])"]
    assert output(sys.executable, "-c", "\n".join(lines)).strip() == "[]"

def test_versions_agree(settings):
    "settings.ini, the package and the newest heading of the changelog."
    package = re.search(r'__version__ = "(.*)"', (ROOT/"latentkit"/"__init__.py").read_text("utf-8"))
    newest = re.search(r"^## (\d[\d.]*)", (ROOT/"CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    said = re.search(r"\*\*Version\*\* \[(.*?)\]", (ROOT/"README.md").read_text("utf-8"))
    assert settings["version"] == package[1] == newest[1] == said[1]

def test_development_brings_every_extra(settings):
    code = "import setuptools; setuptools.setup = lambda **given: print(given['extras_require']); import setup"
    extras = ast.literal_eval(output(sys.executable, "-c", code).splitlines()[-1])
    assert set(extras) == {"run", "inspect", "search", "clip", "encode", "kaggle", "scale", "dev"}
    assert all(set(extras[name]) <= set(extras["dev"]) for name in extras)

@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    missing = [link for link in links if not re.match(r"https?:|mailto:", link) and not (page.parent/link).exists()]
    assert not missing
