"The floors of the house: a module imports only from floors below its own, and only what a plain install has."
import ast
import re
import sys
from configparser import ConfigParser

import pytest
from project import ROOT, output

FLOORS = [
    {"files"},
    {"data", "style"},
    {"device", "retrieval", "losses", "words", "sample", "look", "team", "shards"},
    {"models", "recipes", "views", "encode", "gallery"},
    {"networks", "analysis", "more"},
    {"checkpoint"},
    {"train"},
    {"ensemble", "filter", "search", "maps", "compare"},
    {"seeds", "report", "inspection", "kaggle", "anytime"},
    {"inspect_ui", "serve"},
    {"commands"},
] # from the ground up
MODULES = {p.stem: ast.parse(p.read_text("utf-8")) for p in (ROOT/"latentkit").glob("*.py") if p.stem[0] != "_"}
IMPORTED_AS = {"scikit-learn": "sklearn", "Pillow": "PIL",
               "ipywidgets": "ipywidgets IPython traitlets", "jinja2": "jinja2 markupsafe"} # with what they bring along

# calls that the lowest versions of settings.ini lack, and what is written in their place
TOO_NEW = {r"spines\[[^]]*\]\.set\(": "matplotlib 3.8: set each spine",
           r"read_csv\((?!.*(ROUND_TRIP|dtype=str)).*\)": "pandas 3: **ROUND_TRIP, or dtype=str"}

def floor_of(module: str) -> int:
    "The floor's number, from 1."
    return next(number for number, floor in enumerate(FLOORS, 1) if module in floor)

def rooms_in(module: str) -> set[str]:
    "The modules of the package that a module imports, at its top or in a function."
    found = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "latentkit"):
            path = (node.module or "").removeprefix("latentkit").strip(".")
            found |= {path.split(".")[0]} if path else {name.name for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("latentkit.")}
    return found & MODULES.keys()

def packages_in(nodes: list[ast.stmt]) -> set[str]:
    "Other packages that statements import, by their first name."
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found - {"latentkit"} - sys.stdlib_module_names

def requirements() -> set[str]:
    "What the run-time requirements are imported as."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT/"settings.ini", encoding="utf-8")
    names = re.findall(r"([\w-]+)[>=<]\S+", config["DEFAULT"]["requirements"])
    return {imported for name in names for imported in IMPORTED_AS.get(name, name).split()}

def test_every_module_has_a_floor():
    assert set().union(*FLOORS) == MODULES.keys()

@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_only_from_lower_floors(module):
    wrong = {other for other in rooms_in(module) if floor_of(other) >= floor_of(module)}
    assert not wrong, f"{module} is on floor {floor_of(module)}, and imports from its own or above: {sorted(wrong)}"

def test_recipes_are_data():
    assert rooms_in("recipes") == {"files"}

@pytest.mark.parametrize("module", sorted(MODULES))
def test_package_imports_no_development_tool(module):
    everywhere = packages_in(list(ast.walk(MODULES[module])))
    assert not everywhere & {"nbdev", "fastcore", "execnb", "pytest"}

@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_loads_with_the_plain_requirements(module):
    "Extras are imported in a function or under `try`, so that the module loads without them."
    assert packages_in(MODULES[module].body) <= requirements()

@pytest.mark.parametrize("pattern", TOO_NEW)
def test_nothing_needs_newer_versions_than_promised(pattern):
    found = [f"{path.name}: {line.strip()}" for path in [*(ROOT/"latentkit").glob("*.py"), ROOT/"bench"/"results.py"]
             for line in path.read_text("utf-8").splitlines() if re.search(pattern, line)]
    assert not found, f"{TOO_NEW[pattern]}: {found}"

@pytest.mark.parametrize("module", ["files", "data", "recipes", "commands", "serve"])
def test_wrong_flags_need_no_torch(module):
    "These modules load nothing heavy: a wrong flag is answered at once, and the inspector's server starts at once."
    print_heavy = "print([name for name in ('torch', 'sklearn', 'matplotlib', 'pandas') if name in sys.modules])"
    loaded = output(sys.executable, "-c", f"import sys, latentkit.{module}; {print_heavy}")
    assert loaded == "[]\n"
