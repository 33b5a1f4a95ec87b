"The final notebook on tiny data, its cells run in a forked process: it starts at once, and can be killed often."
import json
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import latentkit.report  # noqa: E402, F401: what the notebook imports is there before the fork
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from latentkit.commands import told  # noqa: E402
from latentkit.data import Queries, write_pairs, write_queries  # noqa: E402
from latentkit.sample import toy  # noqa: E402
from project import ROOT  # noqa: E402

SECONDS = ".csv", ".html", ".ipynb" # files that may hold wall-clock times; submissions do not
KEPT = {".latentkit.lock"} # the lock's file stays

def tiny_data(folder: Path, seed: int = 0) -> Path:
    "A folder of data that trains in a second."
    folder.mkdir(exist_ok=True)
    pairs = toy(images=200, each=3, dx=12, dy=16, causes=8, seed=seed)
    write_pairs(folder/"train.npz", pairs)
    write_queries(folder/"test.clean.npz", Queries(pairs.text[:10], np.arange(10), pairs.captions[:10]))
    return folder

def flags(data: Path, out: Path, **more) -> dict:
    "The notebook's parameters for a tiny run."
    return {"DATA_DIR": str(data), "OUT_DIR": str(out), "RECIPES": ["A-rmlpa", "best"], "BLENDS": [],
            "EPOCHS": 2} | more

def run_cells(parameters: dict) -> None:
    "Run the code of the final notebook in this process."
    space = {"display": print, "__name__": "__main__"}
    for cell in json.loads((ROOT/"nbs"/"05_final.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space |= parameters

class Run:
    "A run of the notebook in a process of its own."
    def __init__(self,
        parameters: dict,
        log: Path,                              # gets what it prints
        before: Callable[[], object] | None = None, # called in the new process first
    ):
        self.log, self.pid = log, os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(ROOT)
            warnings.simplefilter("ignore", UserWarning)
            if before:
                before()
            run_cells(parameters)
            code = 0
        except BaseException as error:
            code, paragraph = told(error)
            print(paragraph, flush=True)
        finally:
            os._exit(code)

    def ends_within(self, seconds: float) -> bool:
        "Wait; True if it has ended."
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(.005)
        return False

    def kill(self) -> None:
        "End it as a session on Kaggle ends: without notice, with all its children."
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def wait(self) -> tuple[int, str]: # exit code as the command has it; what was printed
        "Wait for its end."
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, self.log.read_text(errors="replace")

def finished(parameters: dict, log: Path, before: Callable | None = None) -> str:
    "What a run printed that must end well."
    code, said = Run(parameters, log, before).wait()
    assert code == 0, said[-3000:]
    return said

def files(out: Path) -> dict[str, bytes]:
    "All files below a folder, hidden ones as well."
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and path.name not in KEPT}

def timed(name: str) -> bool:
    "May the file hold wall-clock times?"
    return name.endswith(SECONDS) and not Path(name).name.startswith("submission_")

def differing(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    "Files that are missing, too many, or not the same; times may differ."
    return [name for name in sorted(found.keys() | whole.keys())
            if name not in found or name not in whole or not timed(name) and found[name] != whole[name]]

def halves(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    "Files under their final names that are not whole."
    bad = []
    for name in found.keys() & whole.keys():
        if timed(name): # as many lines, the same end
            ends = found[name][-4:] == whole[name][-4:] or name.endswith(".csv") and found[name].endswith(b"\n")
            good = ends and found[name].count(b"\n") >= whole[name].count(b"\n")*.9
        else:
            good = found[name] == whole[name]
        bad += [] if good else [name]
    return bad

def killed_often(data: Path, folder: Path, whole: dict[str, bytes], seconds: float, kills: int, seed: int) -> int:
    """Start and kill runs until at least `kills` were killed, each at a random moment within `seconds`.

    A folder is used until one of its runs has ended; then its files must be those of an unkilled run. Gives the number.
    """
    rng, done, number = np.random.default_rng(seed), 0, 0
    while done < kills:
        out, number = folder/f"killed-{number}", number + 1
        while True:
            last = done >= kills
            run = Run(flags(data, out), folder/"log")
            if last or run.ends_within(rng.uniform(0, seconds)):
                code, said = run.wait()
                assert code == 0, said[-3000:]
                break
            run.kill()
            done += 1
            assert not halves(files(out) if out.exists() else {}, whole)
        assert differing(files(out), whole) == []
        shutil.rmtree(out)
    return done

@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    "A file system of its own of some bytes; raises `PermissionError` where none can be mounted."
    folder.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size={size} tmpfs '{folder}' 2>/dev/null"):
        raise PermissionError("only root may mount a small disk")
    try:
        yield folder
    finally:
        os.system(f"umount '{folder}' || umount -l '{folder}'")
