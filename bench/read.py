"""Reading a full-size train.npz: latentkit, first time and from the cache, against np.load of everything.

Each in a process of its own, for its peak memory."""
import subprocess, sys, tempfile
from pathlib import Path

import numpy as np

from latentkit.data import Pairs, write_pairs

N, M, DX, DY = 125_000, 25_000, 1024, 1536
MEASURE = """
import resource, time
began = time.perf_counter()
{work}
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
"""


def make(path):
    rng = np.random.default_rng(0)
    captions = np.array([f"caption number {i}, about as long as people write them" for i in range(N)])
    names = np.array([f"{i}.jpg" for i in range(M)])
    text, image = rng.standard_normal((N, DX), dtype="f4"), rng.standard_normal((M, DY), dtype="f4")
    write_pairs(path, Pairs(text, image, np.repeat(np.arange(M), 5), np.arange(N), captions, names), compress=1)


def measure(setup, work):
    "Seconds, and the peak memory in MB."
    command = [sys.executable, "-c", setup + MEASURE.format(work=work)]
    return map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def main(folder):
    path = Path(folder)/"train.npz"
    print(f"making {N:,} x {DX} captions, {M:,} x {DY} images, label {N:,} x {M:,} ...", flush=True)
    subprocess.run([sys.executable, __file__, str(path)], check=True) # not here: a child's peak starts at its parent's
    arrays = 4*(N*DX + M*DY)/2**20
    ours = "from latentkit.data import read_pairs", f"read_pairs({str(path)!r}, cache={folder + '/cache'!r})"
    base_s, base_mb = measure("import numpy as np", f"z = np.load({str(path)!r}); d = {{k: z[k] for k in z.files}}")
    first_s, first_mb = measure(*ours)
    cached_s, cached_mb = measure(*ours)
    print(f"np.load of everything: {base_s:6.2f} s, peak {base_mb:5.0f} MB")
    print(f"first read:            {first_s:6.2f} s, peak {first_mb:5.0f} MB")
    print(f"from the cache:        {cached_s:6.3f} s, peak {cached_mb:5.0f} MB")
    print(f"first read / np.load: time {first_s/base_s:.2f}; "
          f"peak / the two embedding arrays ({arrays:.0f} MB): {first_mb/arrays:.2f}")


if len(sys.argv) > 1:
    make(sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
