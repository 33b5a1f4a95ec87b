"""Pairs larger than memory, and two processes: peak memory, pairs a second, and what nbs/06_scale reckons with.

    .venv/bin/python bench/scale.py                          # 1, 5 and 20 million pairs: 6.4 GB in a temporary folder
    .venv/bin/python bench/scale.py --millions .2 1 --seconds 10
    .venv/bin/python bench/scale.py --dims 1024 1536 --millions .2 1
    .venv/bin/python bench/scale.py --millions               # one and two processes alone: no sizes
    .venv/bin/python bench/scale.py --json bench/scale.json  # keeps the figures as well

Two views of the same hidden causes are written shard by shard, in half precision, and read as clip-retrieval's output.
Each measurement is a process of its own, on files that are not in the page cache. Beside its rate stand, from the same
process, the rate at which the disk alone reads as many bytes, and that of the matrix products alone. Memory is the
process's own (anonymous pages); mapped files, which the system takes back when it needs the room, stand beside it.

Then come one and two processes with a thread each, at 1024 -> 1536: what a process does in a second while the other
does the same, how long gloo takes over loopback, and how long a step of `best` takes. The processes find each other as
those of `accelerate launch` do, and a step is the one of `latentkit run`. The fastest of several counts: what else the
machine does only slows them.
"""
import argparse, json, os, platform, socket, subprocess, sys, tempfile, threading, time
from functools import partial
from pathlib import Path

import numpy as np

SHARD, CAUSES, NOISE, CHUNK = 250_000, 16, 1 << 16, 8 << 20 # pairs a shard; of an image; rows; bytes read at a time
STAGES = "closed form", "epoch"
TEAM_DIMS, TEAM_PAIRS = (1024, 1536), 30_000 # of what one and two processes do
BATCHES = 512, 2048                          # captions of a step, of both processes together
WARM, STEPS = 2, 6                           # steps that do not count, and that do


def make_shards(folder, shards, dx, dy, rows=SHARD):
    "Files in clip-retrieval's layout."
    rng = np.random.default_rng(0)
    to_text, to_image = rng.standard_normal((CAUSES, dx), "f4"), rng.standard_normal((CAUSES, dy), "f4")/CAUSES**.5
    noise = rng.standard_normal((NOISE, dx + dy), "f4") # the same rows for all shards, each time in another place
    for name in "text_emb", "img_emb":
        (folder/name).mkdir()
    for number in range(shards):
        cause = rng.standard_normal((rows, CAUSES), "f4")
        own = (np.arange(rows) + rng.integers(NOISE)) % NOISE
        latents = {"text": cause @ to_text + noise[own, :dx], "img": np.tanh(cause @ to_image) + .3*noise[own, dx:]}
        for name, some in latents.items():
            with open(folder/f"{name}_emb"/f"{name}_emb_{number}.npy", "wb") as file:
                np.save(file, some.astype("f2"))
                os.fsync(file.fileno()) # so that it can leave the page cache
        print(f"\r{(number + 1)*rows/1e6:.2f} million pairs written", end="", flush=True)
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
    factors, hidden = [], model.deep[0].out_features
    kept = round(hidden*(1 - model.deep[1].p)) # that dropout leaves, see `thinned`
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            a, b = (kept if units == hidden else units for units in (layer.in_features, layer.out_features))
            x, g, w = torch.randn(batch, a), torch.randn(batch, b), torch.randn(b, a)
            factors += [(x, w.T), (g.T, x)] + [(g, w)]*(name not in ("affine", "deep.0"))
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


def fewest_seconds(work, team, times=10):
    "How long work takes at best, begun at the same time by all processes."
    import torch.distributed as dist
    found = []
    for _ in range(times + 1):
        if team.size > 1:
            dist.barrier()
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found[1:])


def rates(folder, team):
    "What a process does in a second: FLOP, bytes in memory, bytes of files; and what a pair and a step cost besides."
    import torch
    from latentkit.recipes import get_recipe
    (dx, dy), options = TEAM_DIMS, get_recipe("best").model_options
    hidden = round(options["hidden"]*(1 - options["dropout"])) # that dropout leaves, see `thinned`
    x, w, a, b = (torch.randn(*shape) for shape in ((256, dx), (dx, hidden), (512, 4096), (512, 4096)))
    tall, wide, square = torch.randn(2048, dx).double(), torch.randn(2048, dy).double(), torch.randn(dy, dy).double()
    square, half, whole = square + square.T, torch.randn(8192, dy).half(), torch.empty(8192, dy)
    works = {"float32": (lambda: x @ w, 2*256*dx*hidden), "float64": (lambda: tall.T @ wide, 2*2048*dx*dy),
             "memory": (lambda: a*b, 3*4*a.numel()), "half": (lambda: whole.copy_(half), half.nbytes),
             "eigh": (lambda: torch.linalg.eigh(square), 9*dy**3)}
    found = {name: amount/fewest_seconds(work, team, 2 if name == "eigh" else 20)
             for name, (work, amount) in works.items()}
    return found | reading(folder, team) | {"call": empty_steps()[:, 0].min()}


def reading(folder, team):
    "Bytes of files a second that become a window, from the page cache; seconds a pair of dealing it out in batches."
    import torch
    from latentkit.recipes import get_recipe
    from latentkit.shards import read_shards
    from latentkit.train import Batches, dealt, read_window, window_rows
    pairs, generator = read_shards(folder), torch.Generator().manual_seed(0)
    batches = Batches(get_recipe("best"), pairs, slice(None), torch.device("cpu"))
    rows = next(window_rows(batches, generator))
    read = fewest_seconds(lambda: read_window(batches, rows), team, 5)
    deal = fewest_seconds(lambda: dealt(batches, batches.image_of[rows], generator), team)
    return {"read": 2*sum(pairs.dims)*len(rows)/read, "deal": deal/len(rows)}


class Steps:
    "In place of a progress bar: keeps the time at each step and the thread's own, and ends the training after some."
    def __init__(self, most):
        self.most, self.times = most, []

    def update(self):
        self.times.append((time.perf_counter(), time.thread_time()))
        if len(self.times) > self.most:
            raise Over


def step_times(batches, most):
    "Seconds of each step, and those that it computes, (steps, 2); from a random start, whose steps are the same."
    from latentkit.train import TrainingState, train_epochs
    options = batches.recipe.model_options | {"closed_form": None}
    recipe = batches.recipe = batches.recipe.but(model_options=options)
    state, steps = TrainingState(recipe, batches), Steps(WARM + most)
    try:
        for _ in train_epochs(recipe, state, batches, [{"mrr": 0.}]*recipe.epochs, steps):
            pass
    except Over:
        pass
    return np.diff(steps.times, axis=0)[-most:]


def empty_steps():
    "Seconds of steps that are so small that they are nothing but calls."
    import torch
    from latentkit.recipes import get_recipe
    from latentkit.sample import toy
    from latentkit.train import Batches
    recipe, pairs = get_recipe("best").but(batch_size=8, model_options={"hidden": 8}), toy(2000, 1, 8, 8)
    return step_times(Batches(recipe, pairs, slice(None), torch.device("cpu")), 200)


def network(folder, team):
    "Seconds of collectives by bytes: those that are gathered, of all ranks together; those that are summed."
    import torch
    import torch.distributed as dist
    found = []
    for size in [1 << n for n in range(12, 27, 2)]:
        whole, part = torch.zeros(size//4), torch.zeros(size//4//team.size)
        parts = [torch.zeros_like(part) for _ in range(team.size)]
        for work in partial(dist.all_gather, parts, part), partial(dist.all_reduce, whole):
            seconds = fewest_seconds(work, team, 20)
            found.append({"what": work.func.__name__, "bytes": size, "seconds": seconds})
    return found


def counted(spent):
    "Let each collective add its seconds to a list."
    import torch.distributed as dist
    for name in "all_gather", "all_reduce":
        def timed(*values, work=getattr(dist, name)):
            began = time.perf_counter()
            work(*values)
            spent.append(time.perf_counter() - began)
        setattr(dist, name, timed)


def step(folder, team):
    """Seconds of the fastest step of `best`: all, those in which the thread computes, and those of the collectives.

    In collectives the ranks also wait for each other. Where other programs run, computing takes less than the rest.
    """
    import torch
    from latentkit.recipes import get_recipe
    from latentkit.shards import read_shards
    from latentkit.train import Batches
    found, spent, pairs = [], [], read_shards(folder)
    counted(spent)
    for size in BATCHES:
        recipe = get_recipe("best").but(batch_size=size)
        times = step_times(Batches(recipe, pairs, slice(None), torch.device("cpu"), team=team), STEPS)
        waits = np.reshape(spent[-2*STEPS:], (-1, 2)).sum(1) # a gather and a sum each
        best = int(times[:, 0].argmin())
        found.append({"batch": size, "processes": team.size, "seconds": times[best, 0], "computing": times[best, 1],
                      "collectives": float(waits[best]) if len(waits) else 0.})
    return found


TEAM_STAGES = {"rates": rates, "network": network, "step": step}


def find(stage, folder, seconds, ranks=1):
    "What a stage finds in so many processes, those of a team with a thread each."
    there = dict(os.environ) | ({"OMP_NUM_THREADS": "1"} if stage in TEAM_STAGES else {})
    with socket.socket() as free:
        free.bind(("localhost", 0))
        there |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks)}
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder), "--seconds", str(seconds)]
    started = [subprocess.Popen(command, env=there | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
               for rank in range(ranks)]
    said = [process.communicate()[0] for process in started][0]
    if any(process.returncode for process in started):
        raise SystemExit(f"{stage} failed")
    return json.loads(said.splitlines()[-1])


def sizes(folder, millions, dims, seconds):
    "A line for each size and stage."
    counts, found = [max(1, round(some*1e6/SHARD)) for some in millions], []
    make_shards(folder/"all", max(counts), *dims)
    print(f"{'pairs':>12} {'':12}{'s':>7}{'pairs/s':>10}{'of disk':>9}{'of products':>13}{'own MB':>8}"
          f"{'before':>8}{'with maps':>11}")
    for size in counts:
        first_shards(folder/"all", folder/str(size), size)
        for stage in STAGES:
            f = find(stage, folder/str(size), seconds)
            print(f"{f['pairs']:12,} {stage:12}{f['seconds']:7.1f}{f['rate']:10,.0f}{f['rate']/f['disk']:9.1%}"
                  f"{f['rate']/f['products']:13.1%}{f['own']:8.0f}{f['before']:8.0f}{f['all']:11.0f}", flush=True)
            found.append(f)
    return found


def processes(folder):
    "What one and two processes do."
    make_shards(folder/"team", 1, *TEAM_DIMS, TEAM_PAIRS)
    found = {name: [] for name in TEAM_STAGES}
    for ranks in 1, 2:
        f = find("rates", folder/"team", 0, ranks) | {"processes": ranks}
        print(f"{ranks} at a time: {f['float32']/1e9:.0f} GFLOP/s in float32, {f['float64']/1e9:.0f} in float64, "
              f"{f['memory']/1e9:.1f} GB/s of memory, {f['read']/1e9:.2f} of files, "
              f"{f['call']*1e3:.1f} ms an empty step")
        found["rates"].append(f)
    found["network"] = find("network", folder/"team", 0, 2)
    for f in found["network"]:
        print(f"{f['what']} of {f['bytes']/1e6:6.2f} MB: {f['seconds']*1e3:6.2f} ms")
    for ranks in 1, 2:
        for f in find("step", folder/"team", 0, ranks):
            print(f"{ranks} at a time, batch of {f['batch']}: {f['seconds']:.3f} s a step, "
                  f"{f['computing']:.3f} s of it computing, {f['collectives']:.3f} s in collectives")
            found["step"].append(f)
    return found


def keep(path, found):
    "Put figures into a JSON file, beside those that are there."
    from latentkit.files import atomic
    import torch
    old = json.loads(path.read_text()) if path.exists() else {}
    cpu = next((line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    here = {"cpu": cpu, "cores": os.cpu_count(), "torch": torch.__version__}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(old | found | {"machine": here}, indent=1) + "\n")


def main(options):
    "Make the data and measure."
    found = {}
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for part in "all", "team":
            (folder/part).mkdir()
        if options.millions:
            found["sizes"] = sizes(folder, options.millions, options.dims, options.seconds)
        if not options.no_team:
            found |= processes(folder)
    if options.json:
        keep(options.json, found)


def one_stage(options):
    "Measure in this process, and print what is found."
    if options.stage in STAGES:
        return measure(options.stage, options.folder, options.seconds)
    from latentkit.team import join
    return TEAM_STAGES[options.stage](options.folder, join())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", nargs="*", type=float, default=[1, 5, 20])
    parser.add_argument("--dims", nargs=2, type=int, default=[64, 96])
    parser.add_argument("--seconds", type=float, default=60, help="of an epoch, which is cut there")
    parser.add_argument("--no-team", action="store_true", help="leave one and two processes out")
    parser.add_argument("--folder", type=Path, help="for the data")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--stage", choices=[*STAGES, *TEAM_STAGES], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(one_stage(options)))
    else:
        main(options)
