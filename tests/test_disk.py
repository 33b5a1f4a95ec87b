"""A full disk, a read-only output and a source that is replaced: the run says so, and loses and mixes nothing.

Every step: .venv/bin/python tests/faults.py "full disk"
"""
import os
import resource
import shutil

import pytest
from final import (Run, differing, files, finished, flags, on_full_disk, on_replaced_source, small_disk,
                   tiny_data, with_small_files)

@pytest.mark.parametrize("part", [0, .2, .6], ids=["first checkpoint", "second checkpoint", "submissions"])
def test_full_disk_is_called_that(data, whole, part, tmp_path):
    "Results are shown if there are any, and the same run goes on when there is room."
    try:
        said = on_full_disk(data, tmp_path, whole.steps[int(part*len(whole.steps))], whole.files)
    except PermissionError as error:
        pytest.skip(str(error))
    assert part < .5 or "unseen MRR" in said

def test_files_that_may_not_grow(data, whole, tmp_path):
    "As with a quota; it needs no disk of its own."
    if not hasattr(resource, "RLIMIT_FSIZE"):
        pytest.skip("this system has no such limit")
    finished(flags(data, tmp_path/"cached"), tmp_path/"log") # the copy of the data is in the cache now
    said = with_small_files(data, tmp_path, 100_000, whole.files)
    assert "unseen MRR" in said

def test_read_only_output_is_refused(data, tmp_path):
    "Nothing begins, and what is there stays."
    try:
        with small_disk(tmp_path/"disk", 64 << 20) as disk:
            finished(flags(data, disk/"out"), tmp_path/"log")
            before = files(disk/"out")
            assert not os.system(f"mount -o remount,ro '{disk}'")
            code, said = Run(flags(data, disk/"out"), tmp_path/"log").wait()
            assert code == 2 and "cannot be written" in said and said.count("\n") < 10
            assert files(disk/"out") == before
    except PermissionError as error:
        pytest.skip(str(error))

def test_source_that_is_replaced_is_never_mixed(data, whole, tmp_path):
    "train.npz changes while it is read."
    other = tiny_data(tmp_path/"other", seed=1)
    shutil.copy(data/"test.clean.npz", other)
    finished(flags(other, tmp_path/"out"), tmp_path/"log")
    wholes = [whole.files, files(tmp_path/"out")]
    assert differing(*wholes)
    (tmp_path/"turns").mkdir()
    for seed in range(2):
        on_replaced_source(data, other, tmp_path/"turns", wholes, seed)
