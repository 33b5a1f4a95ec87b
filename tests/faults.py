"""Try every fault and attack that RESULTS.md tells of, on a plain notebook's code and on latentkit.

    .venv/bin/python tests/faults.py                      # all rows, as a table in markdown (about half an hour)
    .venv/bin/python tests/faults.py kills --count 60     # the rows with this in their name
    .venv/bin/python tests/faults.py --json results/faults.json   # for bench/results.py

It exits with 1 if a row fails. Rows with fuzz run `--cases` cases of each of their subjects, and their past findings.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import final
import fuzz
import plain
import torch
from latentkit.checkpoint import Checkpoint
from latentkit.data import read_pairs
from latentkit.files import InputError, atomic
from project import run

@dataclass
class Done:
    "What a row has found: how many cases ran, and what became of them."
    cases: int
    said: str

@dataclass
class Row:
    "A fault or an attack."
    plain: Callable[[Path, int], str]   # folder, count -> what a plain notebook does
    ours: Callable[[Path, int, int], Done] # folder, count, cases a fuzz subject -> what latentkit does
    count: int                          # of cases that are not fuzz

SUBJECTS, PAST = fuzz.collect()

USED: Counter = Counter() # subjects and past findings -> the rows that run them

def by_fuzz(*words: str) -> Callable[[Path, int, int], Done]:
    "The subjects and the past findings with one of these words in their names."
    USED.update(name for name in [*SUBJECTS, *PAST] if any(word in name for word in words))
    def ours(folder: Path, count: int, cases: int) -> Done:
        subjects = {name: one for name, one in SUBJECTS.items() if any(word in name for word in words)}
        past = {name: one for name, one in PAST.items() if any(word in name for word in words)}
        assert subjects or past, f"no fuzz file has {' or '.join(words)} yet"
        totals = fuzz.fuzz(subjects, 13, range(cases), None)
        findings = sum(len(batch.findings) for batch in totals.values())
        assert not findings, f"{findings} findings"
        for number, function in enumerate(past.values()):
            (folder/f"{number}").mkdir()
            function(folder/f"{number}")
        forged = {name for name, one in subjects.items() if isinstance(one, fuzz.Structure)}
        return told(sum((batch.outcomes for name, batch in totals.items() if name not in forged), Counter()),
                    sum(sum(totals[name].outcomes.values()) for name in forged), len(past))
    return ours

def told(damaged: Counter, forged: int, past: int) -> Done: # damaged: the outcomes of damaged bytes
    "The outcomes of fuzz cases in words."
    parts = {"damaged files refused in one paragraph": damaged["refused"], "read as before": damaged["equal"],
             "read as another valid file": damaged["other"], "forged inputs refused or answered right": forged,
             "past findings, each mended": past}
    return Done(sum(damaged.values()) + forged + past, "; ".join(f"{n:,} {what}" for what, n in parts.items() if n))

def refuses(call: Callable, *given) -> None:
    "Assert that a call ends in an `InputError`."
    try:
        call(*given)
    except InputError:
        return
    raise AssertionError("it was not refused")

def pickle_in_npz(folder: Path, count: int, cases: int) -> Done:
    "An array of objects in place of each array."
    final.tiny_data(folder)
    with zipfile.ZipFile(folder/"train.npz") as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    evil = folder/"evil.npz"
    plain.np.savez(evil, x=plain.np.array([plain.Evil(folder/"mark")], dtype=object))
    with zipfile.ZipFile(evil) as archive:
        member = archive.read("x.npy")
    for name in whole:
        with zipfile.ZipFile(folder/"train.npz", "w") as archive:
            for other, data in whole.items():
                archive.writestr(other, member if other == name else data)
        try:
            read_pairs(folder/"train.npz", cache=folder/"cache")
            assert name.startswith("metadata/"), name
        except InputError:
            pass
        assert not (folder/"mark").exists()
    return Done(len(whole), f"{len(whole)} refused, no code runs")

def pickle_in_checkpoint(folder: Path, count: int, cases: int) -> Done:
    "As torch writes it, and bare; under the name of a checkpoint and of an unfinished training."
    path = folder/"model.pth"
    torch.save({"state": plain.Evil(folder/"mark")}, path)
    for data in path.read_bytes(), plain.pickle.dumps(plain.Evil(folder/"mark")):
        path.write_bytes(data)
        refuses(Checkpoint.load, path)
        assert not (folder/"mark").exists()
    return Done(2, "2 refused, no code runs")

def flips(folder: Path, count: int, cases: int) -> Done:
    "Single bits of a checkpoint of 13 MB."
    refused = sys.modules["fuzz_checkpoint"].flips_are_refused(folder, count)
    assert refused == count
    return Done(count, f"{refused:,} of {count:,} refused; `auto` trains again")

SOURCES = by_fuzz("while read", "under a reader")
DISKS = by_fuzz("data: full disk")

def kills(folder: Path, count: int, cases: int) -> Done:
    "The final notebook."
    data, whole, seconds, _ = final.whole_run(folder)
    done = final.killed_often(data, folder, whole, seconds, count, seed=13)
    return Done(done, f"after {done} kills of the final notebook: no half file, nothing left over, "
                      "checkpoints and submissions byte for byte those of an unkilled run")

def timed_kills(folder: Path, count: int, cases: int) -> Done:
    "The same with `MINUTES`."
    done = final.killed_in_time(final.tiny_data(folder/"data"), folder, count, seed=count)
    return Done(done, f"after {done} kills a whole submission.csv or none yet, never a worse one; "
                      "the files at the end are those of an unkilled run")

def full_disk(folder: Path, count: int, cases: int) -> Done:
    "At each file that a run writes."
    data, whole, _, rooms = final.whole_run(folder)
    for room in rooms:
        final.on_full_disk(data, folder, room, whole)
    past = DISKS(folder, 0, 0).cases
    return Done(len(rooms) + past, f"at each of the {len(rooms)} files of a run: called a full disk, no half file, "
                                   "results shown; with room, the same run ends with the same bytes")

def closed_folder(folder: Path, count: int, cases: int) -> Done:
    "A read-only file system."
    data, whole, _, _ = final.whole_run(folder)
    with final.small_disk(folder/"disk", 64 << 20) as disk:
        final.finished(final.flags(data, disk/"out"), folder/"log")
        before = final.files(disk/"out")
        assert not os.system(f"mount -o remount,ro '{disk}'")
        for retrain in True, False, "auto":
            code, said = final.Run(final.flags(data, disk/"out", RETRAIN=retrain), folder/"log").wait()
            assert code == 2 and "cannot be written" in said and final.files(disk/"out") == before
    return Done(3, "3 refused before anything starts; all files stay")

def command(*words: str | Path) -> subprocess.CompletedProcess:
    "A finished `latentkit`."
    return run(sys.executable, "-m", "latentkit", *words)

HOLD = """
import sys, time
from latentkit.files import FolderLock
FolderLock(sys.argv[1])
print(flush=True)
time.sleep(600)
"""

def two_writers(folder: Path, count: int, cases: int) -> Done:
    "A second command of each kind, and a notebook, while one writes; then the first is killed."
    data, out = final.tiny_data(folder/"data"), folder/"out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE)
    holder.stdout.readline()
    for name in "run", "compare", "seeds":
        done = command(name, "--data", data, "--out", out)
        assert done.returncode == 2 and f"run {holder.pid} on host" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and "has been writing here since" in done.stderr
    code, said = final.Run(final.flags(data, out), folder/"log").wait()
    assert code == 2 and f"run {holder.pid} on host" in said, said
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    final.finished(final.flags(data, out), folder/"log")
    return Done(5, "the second ends at once and names the first; after a kill of the first it takes over")

def replaced(folder: Path, count: int, cases: int) -> Done:
    "A run whose train.npz is replaced again and again."
    data, whole, _, _ = final.whole_run(folder)
    other = final.tiny_data(folder/"other", seed=1)
    (other/"test.clean.npz").write_bytes((data/"test.clean.npz").read_bytes())
    final.finished(final.flags(other, folder/"second"), folder/"log")
    wholes = [whole, final.files(folder/"second")]
    (folder/"turns").mkdir()
    ends = [final.on_replaced_source(data, other, folder/"turns", wholes, seed) for seed in range(count)]
    past = SOURCES(folder, 0, 0).cases
    found = "; ".join(f"{n} ends {what}" for what, n in Counter(ends).items())
    return Done(count + past, f"never a mixture: {found}; {past} past findings stay mended")

def interrupted(folder: Path, count: int, cases: int) -> Done:
    "Ctrl-C at the prompt, passed on to the kernel."
    import test_kill
    test_kill.test_first_ctrl_c_ends_the_training_only(final.tiny_data(folder/"data"), folder)
    return Done(1, "training ends in good order, the best so far is the checkpoint, the rest of the notebook runs")

def once(function: Callable[[Path], str]) -> Callable[[Path, int], str]:
    return lambda folder, count: function(folder)

def nothing_alike(folder: Path) -> str:
    "A plain notebook has no cache and no command."
    return "-"

ROWS = {
    "a pickle among the arrays of an npz": Row(once(plain.pickle_in_npz), pickle_in_npz, 1),
    "a pickle in a checkpoint": Row(once(plain.pickle_in_checkpoint), pickle_in_checkpoint, 1),
    "bit flips in a checkpoint of 13 MB": Row(plain.flips, flips, 1000),
    "tampered checkpoints": Row(once(plain.tampered), by_fuzz(
        "checkpoint: checkpoint", "nan_weights", "flip", "another_training", "failed_save", "something_else",
        "old_files"), 1),
    "fuzzed npz files": Row(plain.damaged_npz, by_fuzz(
        "data: train", "data: test", "data: a view", "data: variants", "npz arrays", "npz headers", "zip features",
        "hostile headers", "hostile zips",
        "data: cache", "broken text", "fortran", "objects", "checksum", "large ids", "label values",
        "no regular file"), 1000),
    "zip bombs": Row(once(plain.bomb), by_fuzz("bomb", "many members", "writes nothing", "absurd_sizes"), 1),
    "fuzzed captions and marks": Row(plain.damaged_captions, by_fuzz("caption", "marks"), 1000),
    "kills at random moments": Row(plain.kills, kills, 60),
    "kills of a run with MINUTES": Row(plain.kills, timed_kills, 20),
    "Ctrl-C": Row(once(plain.interrupted), interrupted, 1),
    "a full disk": Row(once(plain.full_disk), full_disk, 1),
    "a read-only output": Row(once(plain.closed_folder), closed_folder, 1),
    "two writers": Row(once(plain.two_writers), two_writers, 1),
    "a source replaced while it is read": Row(plain.replaced, replaced, 10),
    "folders of others in the cache": Row(once(nothing_alike), by_fuzz(
        "own samples", "only marked", "open copy"), 1),
    "picture names that leave the folder": Row(once(plain.outside), by_fuzz(
        "names of pictures", "leaves the folder"), 1),
    "hostile pictures": Row(plain.damaged_pictures, by_fuzz("picture.", "stops a page"), 1000),
    "fuzzed submissions and predictions": Row(plain.damaged_submissions, by_fuzz(
        "submission", "val_", "in predictions"), 1000),
    "degenerate latents": Row(once(plain.degenerate), by_fuzz("outputs: latents", "degenerate", "without spread"), 1),
    "absurd settings": Row(once(plain.absurd_settings), by_fuzz(
        "checkpoint: recipe", "outputs: options", "absurd options", "outputs: spaces"), 1),
    "fuzzed plans, lists and journals": Row(plain.damaged_settings, by_fuzz(
        "plans", "inventory", "suspect", "search.json", "hpsearch", "writer.json"), 1000),
    "absurd command lines": Row(once(nothing_alike), by_fuzz("command line", "minutes"), 1),
}

def tried(name: str, row: Row, count: int | None, cases: int) -> dict[str, str | int | bool]:
    "A row of the table."
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        for part in "plain", "ours":
            (Path(folder)/part).mkdir()
        os.environ["LATENTKIT_CACHE"] = f"{folder}/cache"
        os.chmod(folder, 0o755)
        theirs = plain.apart(row.plain, Path(folder)/"plain", count or row.count)
        try:
            done = row.ours(Path(folder)/"ours", count or row.count, cases)
            failed = False
        except (AssertionError, PermissionError) as error:
            done, failed = Done(0, f"**FAILS**: {' '.join(str(error).split())[:200]}"), True
    return {"fault or attack": name, "a plain notebook": theirs, "latentkit": done.said, "cases": done.cases,
            "command": f'python tests/faults.py "{name}"', "failed": failed}

def markdown(rows: list[dict]) -> str:
    "The rows, and their sum."
    heads = ["fault or attack", "a plain notebook", "latentkit", "cases", "command"]
    lines = [heads, ["---"]*len(heads)]
    lines += [[*(str(row[head]) for head in heads[:3]), f"{row['cases']:,}", f"`{row['command']}`"] for row in rows]
    lines.append(["all", "", "", f"{sum(row['cases'] for row in rows):,}", "`python tests/faults.py`"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("only", nargs="?", default="", help="rows with this in their names; default: all")
    parser.add_argument("--count", type=int, help="of kills, flips, runs; default: each row's own")
    parser.add_argument("--cases", type=int, default=500, help="of each fuzz subject")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    options = parser.parse_args()
    rows = []
    for name, row in ROWS.items():
        if options.only in name:
            began = time.perf_counter()
            rows.append(tried(name, row, options.count, options.cases))
            print(f"{name}: {rows[-1]['latentkit']} ({time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
    print(markdown(rows))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with atomic(options.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=1), "utf-8")
    return int(not rows or any(row["failed"] for row in rows))

if __name__ == "__main__":
    sys.exit(main())
