"The final notebook on tiny data, its cells run in a forked process: it starts at once, and can be killed often."
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("MPLBACKEND", "Agg")

import imported  # noqa: E402, F401 (what the notebook imports is there before the fork)
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from latentkit import anytime  # noqa: E402
from latentkit.commands import told  # noqa: E402
from latentkit.data import Queries, read_queries, write_pairs, write_queries  # noqa: E402
from latentkit.ensemble import check_submission  # noqa: E402
from latentkit.sample import toy  # noqa: E402
from latentkit.train import Unfinished  # noqa: E402
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
            sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1) # pytest has its own
            os.chdir(ROOT)
            warnings.simplefilter("ignore", UserWarning)
            if before:
                before()
            run_cells(parameters)
            code = 0
        except BaseException as error:
            code, paragraph = told(error)
            print("\n" + paragraph)
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
    return name.endswith(SECONDS) and not Path(name).name.startswith("submission")

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
        elif Path(name).stem == "submission": # it may hold the best of the models so far
            good = bool(json.loads(found[name])) if name.endswith(".json") else (
                found[name].count(b"\n") == whole[name].count(b"\n"))
        else:
            good = found[name] == whole[name]
        bad += [] if good else [name]
    return bad

def save_each_epoch() -> None:
    "A tiny training is over before a minute is."
    Unfinished.every = 0

def killed_often(data: Path, folder: Path, whole: dict[str, bytes], seconds: float, kills: int, seed: int) -> int:
    """Start and kill runs until at least `kills` were killed, each at a random moment within `seconds`.

    A folder is used until one of its runs has ended; then its files must be those of an unkilled run. Gives the number.
    """
    rng, done, number = np.random.default_rng(seed), 0, 0
    while done < kills:
        out, number = folder/f"killed-{number}", number + 1
        while True:
            last = done >= kills
            run = Run(flags(data, out), folder/"log", save_each_epoch)
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

def few_seeds() -> None:
    "Two of each recipe, and a training is saved at each epoch."
    anytime.SEEDS = 2
    save_each_epoch()

def standing_in(out: Path, data: Path) -> float: # 0: there is none
    "The validation MRR that submission.json tells of, of a submission.csv that must be whole."
    path = out/"submission"/"submission.csv"
    if not path.exists():
        return 0.
    check_submission(path, read_queries(data/"test.clean.npz", 12), 16)
    return json.loads(path.with_suffix(".json").read_text("utf-8"))["MRR"] # a kill may come between the two

def killed_in_time(data: Path, folder: Path, kills: int, seed: int) -> int:
    """Start and kill runs with MINUTES until at least `kills` were killed, each at a random moment of the time left.

    At any moment there is a whole submission or none yet; its MRR never falls. Each run ends as an unkilled one does.
    """
    given = dict(MINUTES=30, RECIPES=["quick", "best"])
    began = time.perf_counter()
    finished(flags(data, folder/"unkilled", **given), folder/"log", few_seeds)
    seconds, whole = time.perf_counter() - began, files(folder/"unkilled")
    rng, done = np.random.default_rng(seed), 0
    while done < kills:
        out, best = folder/"killed", 0.
        while True:
            run = Run(flags(data, out, **given), folder/"log", few_seeds)
            if done >= kills or run.ends_within(rng.uniform(0, seconds)):
                break
            run.kill()
            done += 1
            assert (now := standing_in(out, data)) >= best
            best = now
        code, said = run.wait()
        assert code == 0, said[-3000:]
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

def steps(out: Path) -> list[int]: # of a run that ended well
    "For each file that a run writes, in order: room for all before it, and for half of it."
    found = sorted((path for path in out.rglob("*") if path.is_file() and path.stat().st_size),
                   key=lambda path: path.stat().st_mtime_ns)
    pages = [-(-path.stat().st_size//4096) for path in found]
    return [4096*(1 + sum(pages[:n]) + pages[n]//2) for n in range(len(pages))] # 1: who is writing

class Whole(NamedTuple):
    "A run that nothing disturbed."
    data: Path              # tiny data
    files: dict[str, bytes] # all that it wrote
    seconds: float
    steps: list[int]        # room for each file, see `steps`

def whole_run(folder: Path) -> Whole:
    "Such a run, below a folder."
    data, began = tiny_data(folder/"data"), time.perf_counter()
    finished(flags(data, folder/"out"), folder/"log")
    return Whole(data, files(folder/"out"), time.perf_counter() - began, steps(folder/"out"))

def on_full_disk(data: Path, folder: Path, room: int, whole: dict[str, bytes]) -> str: # what it said
    "A run on a disk that fills, then again with room: it says so, leaves nothing half, and loses nothing."
    with small_disk(folder/f"disk-{room}", room) as disk:
        code, said = Run(flags(data, disk/"out"), folder/"log").wait()
        assert code == 2 and "a full disk" in said.splitlines()[-1] and "Traceback" not in said, said[-3000:]
        assert not halves(files(disk/"out"), whole)
        assert not [name for name in files(disk/"out") if ".writing-" in name]
        os.system(f"mount -o remount,size=64m '{disk}'")
        finished(flags(data, disk/"out"), folder/"log")
        assert differing(files(disk/"out"), whole) == []
    return said

def with_small_files(data: Path, folder: Path, most: int, whole: dict[str, bytes]) -> str: # what it said
    "The same where no disk can be mounted: no file may have more than `most` bytes."
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    code, said = Run(flags(data, folder/"out"), folder/"log", limit).wait()
    assert code == 2 and "a full disk" in said and "Traceback" not in said, said[-3000:]
    assert not halves(files(folder/"out"), whole)
    finished(flags(data, folder/"out"), folder/"log")
    assert differing(files(folder/"out"), whole) == []
    return said

def on_replaced_source(data: Path, other: Path, folder: Path, wholes: list[dict[str, bytes]], seed: int) -> str:
    "A run while its train.npz is replaced again and again: the files are those of one source or of the other."
    ours = shutil.copytree(data, folder/"replaced")
    rng, run = np.random.default_rng(seed), Run(flags(ours, folder/"out"), folder/"log")
    for turn in range(400):
        shutil.copy((other, data)[turn % 2]/"train.npz", folder/"new")
        os.replace(folder/"new", ours/"train.npz")
        if run.ends_within(rng.uniform(0, .02)):
            break
    code, said = run.wait()
    found = files(folder/"out") if code == 0 else {}
    shutil.rmtree(folder/"out", ignore_errors=True)
    shutil.rmtree(ours)
    assert "Traceback" not in said and code in (0, 2), said[-3000:]
    assert code == 2 or [] in [differing(found, whole) for whole in wholes], "a mixture of two sources"
    return "refused" if code else "one of the two"
