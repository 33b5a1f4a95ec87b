"A fixed 2 000 fuzz cases, shared among the subjects, and every past finding as a case of its own."
import os

import fuzz
import pytest
from fuzz import collect, run_batch
from fuzzing import Bytes, Structure
from hypothesis import strategies as st

SUBJECTS, PAST = collect()

@pytest.mark.parametrize("name", SUBJECTS)
def test_damage_is_refused_or_harmless(name):
    "`InputError` or the right answer."
    count = -(-2000//len(SUBJECTS))
    batch = run_batch(SUBJECTS[name], name, 13, range(count))
    assert not batch.findings
    assert sum(batch.outcomes.values()) > count//10 # hypothesis runs out of small strategies

@pytest.mark.parametrize("name", PAST)
def test_past_finding_stays_mended(name, tmp_path, monkeypatch):
    "Each asserts what must happen now."
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path/"cache"))
    (tmp_path/"case").mkdir()
    PAST[name](tmp_path/"case")

def whole_file(folder):
    (folder/"file").write_bytes(bytes(range(64)))
    return folder/"file"

def first_bytes(path):
    "A reader with every fault: what it does depends on the damage."
    data = path.read_bytes()
    if data == bytes(range(64)) or data[:1] != b"\0":
        return data[:8]
    if len(data) < 64:
        raise KeyError("short")
    if len(data) > 64:
        os.kill(os.getpid(), 9)
    return bytearray(2 << 30)[:0]

def no_large_numbers(value, folder):
    assert value < 1000

def test_harness_finds_every_fault(monkeypatch, tmp_path):
    "Another value, a raw error, too much memory, and a process that dies."
    monkeypatch.setattr(fuzz, "FINDINGS", tmp_path/"findings")
    found = " ".join(outcome for seed in range(6) for _, outcome in
                     run_batch(Bytes(whole_file, first_bytes, True), "x", seed, range(20)).findings)
    for kind in "another value", "KeyError", "MemoryError", "the process ended":
        assert kind in found
    saved = [path.read_bytes() for path in (tmp_path/"findings").iterdir()]
    assert saved and bytes(range(64)) not in saved

def test_harness_makes_structures_small(monkeypatch, tmp_path):
    "What hypothesis found is told at its smallest."
    monkeypatch.setattr(fuzz, "FINDINGS", tmp_path/"findings")
    (case, outcome), = run_batch(Structure(st.integers(), no_large_numbers), "y", 0, range(100)).findings
    assert outcome.endswith("for 1000") and [path.read_text() for path in (tmp_path/"findings").iterdir()] == ["1000"]

def test_every_subject_has_its_row_in_the_table():
    "tests/faults.py runs each subject and each past finding once."
    import faults
    assert {name: faults.USED[name] for name in [*SUBJECTS, *PAST] if faults.USED[name] != 1} == {}
