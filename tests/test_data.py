"Reading data files holds in several threads at once."
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from latentkit import data


def interrupted(phase, info):
    "Python code inside a garbage collection: here one thread may hand over to another."


@pytest.fixture
def eager_collector():
    "Collect garbage at every allocation and change threads as often as Python can."
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.callbacks.append(interrupted)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)
    gc.callbacks.remove(interrupted)
    gc.unfreeze()


def read_often(path, reads: int) -> int:
    "Read one small array `reads` times; how often that failed in CPython's parser."
    failures = 0
    with data.open_npz(path) as archive:
        for _ in range(reads):
            try:
                data.read_array(path, archive, "ids", "iu")
            except SystemError:
                failures += 1
    return failures


def test_threads_parse_headers_one_at_a_time(tmp_path, eager_collector):
    data.write_npz(tmp_path/"small.npz", {"ids": np.arange(3)})
    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(read_often, [tmp_path/"small.npz"]*2, [4000]*2)) == 0


def test_unpack_never_fails_in_the_parser(tmp_path, eager_collector):
    pairs = data.Pairs(np.ones((12, 3), "f4"), np.ones((4, 5), "f4"), np.arange(12) % 4, np.arange(12),
                       np.array(["caption"]*12), np.array([f"{i}.jpg" for i in range(4)]))
    data.write_pairs(tmp_path/"train.npz", pairs)
    for attempt in range(200):
        folder = tmp_path/str(attempt)
        folder.mkdir()
        data.unpack(tmp_path/"train.npz", folder)
