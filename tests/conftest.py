"A copy of the project where tests may write, and the last line of a test run."
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1") # a fork beside threads hangs; torch reads it when it loads

import pytest  # noqa: E402
from project import ROOT  # noqa: E402

BUILT = {".venv", ".git", "data", "dist", "build", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}

def not_ours(folder: str, names: list[str]) -> set[str]:
    "What runs and tools have left: everything in checkpoints/ and submission/ but their README."
    written = Path(folder).name in ("checkpoints", "submission")
    return {n for n in names if n in BUILT or n.endswith(".egg-info") or written and n != "README.md"}

@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    "The project's own files in a new folder."
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy")/"latentkit", ignore=not_ours)

@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    "A run of the final notebook on tiny data that nothing disturbs, see `final.Whole`."
    import final # it loads torch, which most tests do not need
    return final.whole_run(tmp_path_factory.mktemp("whole"))

@pytest.fixture(scope="session")
def data(whole) -> Path:
    "The tiny data."
    return whole.data

def pytest_unconfigure(config):
    "The last line says how many passed and failed, in plain words."
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.stats: return
    def count(*kinds: str) -> int:
        reports = [report for kind in kinds for report in reporter.stats.get(kind, [])]
        return sum(getattr(report, "when", "call") in ("call", "setup") for report in reports)
    skipped = count("skipped")
    line = f"{count('passed')} passed, {count('failed', 'error')} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
