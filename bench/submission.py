"A submission of 1 500 x 1 536: writing against pandas to_csv, reading against read_csv with ast.literal_eval."
import ast, statistics, tempfile, time
from pathlib import Path

import numpy as np
import pandas as pd

from latentkit.ensemble import read_submission, write_submission

rows, ids = np.random.default_rng(0).standard_normal((1_500, 1_536), dtype="f4"), np.arange(1, 1_501)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)


def timed(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def write_plainly(path):
    pd.DataFrame({"id": ids, "embedding": [row.tolist() for row in rows]}).to_csv(path, index=False)


def read_plainly(path):
    return np.array([ast.literal_eval(text) for text in pd.read_csv(path).embedding], dtype=np.float32)


writes, reads = [], []
with tempfile.TemporaryDirectory() as folder:
    ours, theirs = Path(folder)/"ours.csv", Path(folder)/"theirs.csv"
    for trial in range(4):
        slow_write, _ = timed(lambda: write_plainly(theirs))
        fast_write, _ = timed(lambda: write_submission(ours, ids, rows))
        slow_read, _ = timed(lambda: read_plainly(theirs))
        fast_read, (_, back) = timed(lambda: read_submission(ours))
        if trial:
            writes.append(slow_write/fast_write)
            reads.append(slow_read/fast_read)
    assert (back.view("i4") == rows.view("i4")).all()
    sizes = ours.stat().st_size/1e6, theirs.stat().st_size/1e6
print(f"write {fast_write:.3f} s against {slow_write:.2f} s, read {fast_read:.3f} s against {slow_read:.2f} s; "
      f"every float reads back to the same bits; {sizes[0]:.0f} MB against {sizes[1]:.0f} MB")
print(f"to_csv / write_submission: median {statistics.median(writes):.0f}; "
      f"literal_eval / read_submission: median {statistics.median(reads):.0f}")
