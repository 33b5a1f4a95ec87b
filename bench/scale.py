"""Pairs larger than memory: peak memory and pairs a second of a closed form and of an epoch, at several sizes.

    .venv/bin/python bench/scale.py                          # 1, 5 and 20 million pairs: 6.4 GB in a temporary folder
    .venv/bin/python bench/scale.py --millions .2 1 --seconds 10
    .venv/bin/python bench/scale.py --dims 1024 1536 --millions .2 1

Two views of the same hidden causes are written shard by shard, in half precision, and read as clip-retrieval's output.
Each measurement is a process of its own, on files that are not in the page cache. Beside its rate stand, from the same
process, the rate at which the disk alone reads as many bytes, and that of the matrix products alone. Memory is the
process's own (anonymous pages); mapped files, which the system takes back when it needs the room, stand beside it.
"""
import argparse, json, os, subprocess, sys, tempfile, threading, time
from pathlib import Path

import numpy as np

SHARD, CAUSES, NOISE, CHUNK = 250_000, 16, 1 << 16, 8 << 20 # pairs a shard; of an image; rows; bytes read at a time
STAGES = "closed form", "epoch"


def make_shards(folder, shards, dx, dy):
    "Files in clip-retrieval's layout."
    rng = np.random.default_rng(0)
    to_text, to_image = rng.standard_normal((CAUSES, dx), "f4"), rng.standard_normal((CAUSES, dy), "f4")/CAUSES**.5
    noise = rng.standard_normal((NOISE, dx + dy), "f4") # the same rows for all shards, each time in another place
    for name in "text_emb", "img_emb":
        (folder/name).mkdir()
    for number in range(shards):
        cause = rng.standard_normal((SHARD, CAUSES), "f4")
        rows = (np.arange(SHARD) + rng.integers(NOISE)) % NOISE
        latents = {"text": cause @ to_text + noise[rows, :dx], "img": np.tanh(cause @ to_image) + .3*noise[rows, dx:]}
        for name, some in latents.items():
            with open(folder/f"{name}_emb"/f"{name}_emb_{number}.npy", "wb") as file:
                np.save(file, some.astype("f2"))
                os.fsync(file.fileno()) # so that it can leave the page cache
        print(f"\r{(number + 1)*SHARD/1e6:.2f} million pairs written", end="", flush=True)
    print()


def first_shards(folder, part, shards):
    "A folder with the first shards of another."
    for name in "text_emb", "img_emb":
        (part/name).mkdir(parents=True)
        for number in range(shards):
            os.link(folder/name/f"{name}_{number}.npy", part/name/f"{name}_{number}.npy")


def forget(folder):
    "Drop a folder's files from the page cache."
    for path in folder.rglob("*.npy"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(folder, most=2e9):
    "Bytes a second of plain reading."
    forget(folder)
    buffer, done, began = bytearray(CHUNK), 0, time.perf_counter()
    for path in sorted(folder.rglob("*.npy")):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                done += count
        if done > most:
            break
    rate = done/(time.perf_counter() - began)
    forget(folder)
    return rate


class Memory(threading.Thread):
    "The most memory that this process has held, in MB: its own, and with mapped files."
    def __init__(self):
        super().__init__(daemon=True)
        self.own = self.all = 0.
        self.start()

    def look(self):
        facts = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        own, every = (int(facts[key].split()[0])/1000 for key in ("RssAnon", "VmRSS"))
        self.own, self.all = max(self.own, own), max(self.all, every)
        return own

    def run(self):
        while True:
            self.look()
            time.sleep(.05)


def rate_of(work, seconds=2.):
    "How often work is done in a second, after a first time."
    work()
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        work()
        count += 1
    return count/spent


def closed_products(dx, dy, rows=8192):
    "Pairs a second of a closed form's products alone: x'x, y'y and x'y in float64."
    import torch
    x, y = torch.randn(rows, dx).double(), torch.randn(rows, dy).double()
    return rows*rate_of(lambda: (x.T @ x, y.T @ y, x.T @ y))


def step_products(model, batch, dy):
    "Pairs a second of a training step's products alone: of each layer x W', g' x and, but for the first ones, g W."
    import torch
    factors = []
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            x, g = torch.randn(batch, layer.in_features), torch.randn(batch, layer.out_features)
            factors += [(x, layer.weight.detach().T), (g.T, x)]
            factors += [] if name in ("affine", "deep.0") else [(g, layer.weight.detach())]
    p, g = torch.randn(batch, dy), torch.randn(batch, batch)
    factors += [(p, p.T), (g, p)]
    return batch*rate_of(lambda: [a @ b for a, b in factors])


class Over(Exception):
    "The time is over."


class Clock:
    "In place of a progress bar: ends an epoch after some seconds."
    def __init__(self, seconds):
        self.steps, self.seconds, self.began = 0, seconds, time.perf_counter()

    def update(self):
        self.steps += 1
        if time.perf_counter() - self.began > self.seconds:
            raise Over


def measure(stage, folder, seconds):
    "The figures of a stage, for one folder of shards."
    import torch
    from latentkit.data import split_by_image
    from latentkit.recipes import get_recipe
    from latentkit.shards import read_shards
    from latentkit.train import Batches, TrainingState, train_epochs
    disk, memory = disk_rate(folder), Memory()
    pairs = read_shards(folder)
    split, before = split_by_image(pairs.image_of), memory.look()
    recipe = get_recipe("quick" if stage == "closed form" else "best")
    batches, began = Batches(recipe, pairs, split.train, torch.device("cpu")), time.perf_counter()
    state = TrainingState(recipe, batches)
    count, spent = len(split.train), time.perf_counter() - began
    if stage == "epoch":
        forget(folder)
        clock = Clock(seconds)
        try:
            next(train_epochs(recipe, state, batches, [{"mrr": 0.}], clock))
        except Over:
            pass
        spent = time.perf_counter() - clock.began
        count = min(count, clock.steps*recipe.batch_size)
        products = step_products(state.model, recipe.batch_size, pairs.dims[1])
    else:
        products = closed_products(*pairs.dims)
    return {"pairs": len(pairs.text), "stage": stage, "rate": count/spent, "disk": disk/(2*sum(pairs.dims)),
            "products": products, "seconds": spent, "before": before, "own": memory.own, "all": memory.all}


def main(millions, dims, seconds, place):
    "Make the data and measure; a line for each size and stage."
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder, sizes = Path(name), [max(1, round(some*1e6/SHARD)) for some in millions]
        (folder/"all").mkdir()
        make_shards(folder/"all", max(sizes), *dims)
        print(f"{'pairs':>12} {'':12}{'s':>7}{'pairs/s':>10}{'of disk':>9}{'of products':>13}{'own MB':>8}"
              f"{'before':>8}{'with maps':>11}")
        for size in sizes:
            first_shards(folder/"all", folder/str(size), size)
            for stage in STAGES:
                options = "--stage", stage, "--folder", folder/str(size), "--seconds", seconds
                done = subprocess.run([sys.executable, __file__, *map(str, options)], capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(done.stderr)
                f = json.loads(done.stdout.splitlines()[-1])
                print(f"{f['pairs']:12,} {stage:12}{f['seconds']:7.1f}{f['rate']:10,.0f}{f['rate']/f['disk']:9.1%}"
                      f"{f['rate']/f['products']:13.1%}{f['own']:8.0f}{f['before']:8.0f}{f['all']:11.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", nargs="+", type=float, default=[1, 5, 20])
    parser.add_argument("--dims", nargs=2, type=int, default=[64, 96])
    parser.add_argument("--seconds", type=float, default=60, help="of an epoch, which is cut there")
    parser.add_argument("--folder", type=Path, help="for the data")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(measure(options.stage, options.folder, options.seconds)))
    else:
        main(options.millions, options.dims, options.seconds, options.folder)
