"""Fuzz what latentkit reads: whole files with damaged bytes, and structures that no sane program writes.

    make fuzz MINUTES=10
    .venv/bin/python tests/fuzz.py --cases 2000
    .venv/bin/python tests/fuzz.py --only "data: train.npz" --seed 7 --case 123   # one case again, with its traceback

Each `tests/fuzz_*.py` fills the dicts BYTES, STRUCTURES and PAST. A case may end in `InputError` or in a right answer.
Another error, another answer, two seconds of CPU, a gigabyte or a crash is a finding: its input goes to fuzz-findings/.
"""
import argparse
import importlib
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
from fuzzing import Bytes, Structure
from latentkit.files import InputError

HERE = Path(__file__).parent
FINDINGS = HERE.parent/"fuzz-findings"
CPU, WALL, MEMORY, SILENCE = 2, 60, 1 << 30, 180 # seconds a case, seconds a case, bytes a batch, seconds for the parent
BATCH = 100 # cases of a subject in one process

class Slow(BaseException):
    "A case took too long; no `except Exception` hides it."

def collect() -> tuple[dict, dict]: # subjects and past findings, by "file: name"
    "What all fuzz files hold."
    subjects, past = {}, {}
    for path in sorted(HERE.glob("fuzz_*.py")):
        module, name = importlib.import_module(path.stem), path.stem.removeprefix("fuzz_")
        subjects |= {f"{name}: {key}": one for key, one in {**module.BYTES, **module.STRUCTURES}.items()}
        past |= {f"{name}: {key}": one for key, one in module.PAST.items()}
    return subjects, past

def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    "The bytes with a few random flips, cuts, insertions, repeats, swaps or blanks."
    found = bytearray(data)
    for _ in range(min(rng.geometric(.5), 8)):
        size = len(found)
        a, b = sorted(rng.integers(0, size + 1, 2).tolist())
        b = min(b, a + int(2**rng.uniform(0, 10))) # most of them small
        part = bytes(found[a:b])
        match rng.integers(0, 8):
            case 0 | 1 | 2 if size:
                found[min(a, size - 1)] ^= 1 << int(rng.integers(0, 8))
            case 3:
                del found[a:b]
            case 4:
                del found[a:]
            case 5:
                found[a:a] = part if rng.random() < .5 else rng.bytes(b - a)
            case 6:
                place = int(rng.integers(0, size + 1))
                found[place:place + len(part)], found[a:b] = part, bytes(found[place:place + len(part)])
            case _:
                found[a:b] = bytes([int(rng.choice([0, 255, 128, 32, 48]))])*(b - a)
    return bytes(found)

def bounded(call: Callable, *given) -> object:
    "The result of a call; `Slow` after too much CPU, or after a minute in which it waits."
    try:
        signal.setitimer(signal.ITIMER_PROF, CPU)
        signal.setitimer(signal.ITIMER_REAL, WALL)
        return call(*given)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)

def stop(number: int, frame) -> None:
    raise Slow("over two seconds of CPU" if number == signal.SIGPROF else "over a minute")

def damage_bytes(subject: Bytes, name: str, folder: Path, seed: int, cases: range) -> Iterator[str]:
    "The outcome of each case: refused, equal, other, or a finding."
    path = subject.make(folder)
    whole = path.read_bytes()
    expected = subject.read(path)
    for case in cases:
        data = mutate(whole, np.random.default_rng([seed, zlib.crc32(name.encode()), case]))
        (folder.parent/"case").write_bytes(data)
        path.unlink()
        path.write_bytes(data)
        try:
            same = bounded(subject.read, path) == expected
            yield "equal" if same else "finding: another value, silently" if subject.exact else "other"
        except InputError:
            yield "refused"
        except (Exception, Slow) as error:
            yield f"finding: {told(error)}"

def build_structures(subject: Structure, name: str, folder: Path, seed: int, cases: range) -> Iterator[str]:
    "The outcome of each case; hypothesis makes a finding as small as it can."
    outcomes, failed = [], []
    @hypothesis.seed(zlib.crc32(f"{name} {seed} {cases.start}".encode()))
    @hypothesis.settings(max_examples=len(cases), deadline=None, database=None, print_blob=False,
                         suppress_health_check=list(hypothesis.HealthCheck), report_multiple_bugs=False,
                         phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink])
    @hypothesis.given(subject.strategy)
    def check(value):
        case = folder/"case"
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        (folder.parent/"case").write_text(ascii(value))
        try:
            bounded(subject.check, value, case)
            outcomes.append("equal")
        except InputError:
            outcomes.append("refused")
        except (Exception, Slow) as error:
            failed.append(f"finding: {told(error)}, for {ascii(value)[:300]}")
            raise AssertionError from error # what hypothesis makes smaller
    try:
        check()
    except AssertionError:
        outcomes.append(failed[-1]) # the smallest is tried last
    yield from outcomes

def told(error: BaseException) -> str:
    "An error in a line, with the last place in the package or in the fuzz file."
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzz.py" not in frame.filename]
    place = next((f" at {Path(f.filename).name}:{f.lineno}" for f in reversed(frames)
                  if "latentkit/" in f.filename or "fuzz_" in f.filename), "")
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}"

@dataclass
class Batch:
    "What some cases of a subject ended in."
    outcomes: Counter # refused, equal, other, finding
    findings: list    # of (number of the case, what was found)

def limit_memory() -> None:
    "A gigabyte more than now."
    pd.Series(["text"]) # where pyarrow is installed, its allocator reserves a gigabyte before it gives a byte
    used = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1])*1024 \
        if Path("/proc/self/status").is_file() else None
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, -1))

def work(subject: Bytes | Structure, name: str, folder: Path, seed: int, cases: range, pipe: int) -> None:
    "Run cases in a process of its own; each outcome is a line of the pipe."
    os.environ["LATENTKIT_CACHE"] = str(folder/"cache")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGALRM, stop)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1) # what the code under test prints
    limit_memory()
    (folder/"work").mkdir(parents=True)
    run = damage_bytes if isinstance(subject, Bytes) else build_structures
    for number, outcome in zip(range(cases.start, sys.maxsize), run(subject, name, folder/"work", seed, cases)):
        os.write(pipe, json.dumps([number, outcome]).encode() + b"\n")
        if outcome.startswith("finding"):
            FINDINGS.mkdir(exist_ok=True)
            shutil.copy(folder/"case", FINDINGS/saved_as(name, seed, number))
    os.write(pipe, b"null\n")

def saved_as(name: str, seed: int, case: int) -> str:
    return re.sub(r"[^\w.]+", "-", f"{name}-{seed}-{case}")

def lines_of(pipe: int) -> Iterator[bytes]:
    "The lines of a pipe, until it is closed or silent for too long."
    rest = b""
    while select.select([pipe], [], [], SILENCE)[0] and (data := os.read(pipe, 1 << 16)):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines

def run_batch(subject: Bytes | Structure, name: str, seed: int, cases: range) -> Batch:
    "Run cases of a subject in a forked process; its crash is a finding as well."
    ours, theirs = os.pipe()
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        child = os.fork()
        if child == 0:
            try:
                work(subject, name, Path(folder), seed, cases, theirs)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(theirs)
        found = [json.loads(line) for line in lines_of(ours)]
        os.kill(child, signal.SIGKILL)
        os.close(ours)
        status = os.waitpid(child, 0)[1]
        if not found or found[-1] is not None: # it did not come to its end
            number = len(found) + cases.start
            found.append([number, f"finding: the process ended or hung at this case (wait status {status})"])
            if (Path(folder)/"case").is_file():
                FINDINGS.mkdir(exist_ok=True)
                shutil.copy(Path(folder)/"case", FINDINGS/saved_as(name, seed, number))
    found = [one for one in found if one]
    return Batch(Counter(outcome.split(":")[0] for _, outcome in found),
                 [(number, outcome) for number, outcome in found if outcome.startswith("finding")])

def repeat(name: str, subject: Bytes | Structure, seed: int, case: int) -> str:
    "The command that runs a finding again; structures are repeated from the start of their batch."
    again = f"--case {case}" if isinstance(subject, Bytes) else f"--cases {BATCH} --first {case//BATCH*BATCH}"
    return f'python tests/fuzz.py --only "{name}" --seed {seed} {again}'

def fuzz(subjects: dict, seed: int, cases: range, minutes: float | None) -> dict[str, Batch]:
    "Batches of all subjects in turn, until there are enough cases of each or the time is over; findings are told."
    end = time.monotonic() + 60*minutes if minutes else float("inf")
    totals = {name: Batch(Counter(), []) for name in subjects}
    starts = range(cases.start, sys.maxsize if minutes else cases.stop, BATCH)
    for start in starts:
        for name, subject in subjects.items():
            if time.monotonic() > end:
                return totals
            part = range(start, start + BATCH if minutes else min(start + BATCH, cases.stop))
            batch = run_batch(subject, name, seed, part)
            totals[name].outcomes.update(batch.outcomes)
            totals[name].findings.extend(batch.findings)
            for case, outcome in batch.findings:
                print(f"{name}, case {case}: {outcome}\n    {repeat(name, subject, seed, case)}\n"
                      f"    {FINDINGS/saved_as(name, seed, case)}", flush=True)
    return totals

def table(totals: dict[str, Batch]) -> str:
    "Subject, cases, refused, equal, other, findings."
    heads = ["refused", "equal", "other", "finding"]
    counts = {name: [batch.outcomes[head] for head in heads] for name, batch in totals.items()}
    counts["all"] = [sum(column) for column in zip(*counts.values())] or [0]*len(heads)
    width = max(map(len, counts))
    lines = [f"{'subject':{width}}" + "".join(f"{head:>10}" for head in ["cases", *heads[:3], "findings"])]
    lines += [f"{name:{width}}" + "".join(f"{n:>10,}" for n in [sum(row), *row]) for name, row in counts.items()]
    return "\n".join(lines)

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, help="run for so long")
    parser.add_argument("--cases", type=int, default=200, help="of each subject, where --minutes is not given")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="only the case of this number")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--only", help="subjects with this in their name")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    first = options.first if options.case is None else options.case
    count = options.cases if options.case is None else 1
    subjects = {name: one for name, one in collect()[0].items() if (options.only or "") in name}
    print(f"seed {seed}, {len(subjects)} subjects", flush=True)
    totals = fuzz(subjects, seed, range(first, first + count), options.minutes)
    print(table(totals))
    return int(any(batch.findings for batch in totals.values()) or not subjects)

if __name__ == "__main__":
    sys.exit(main())
