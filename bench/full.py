"""A run at the competition's full size, one epoch a recipe: memory, the seconds of each stage, report and inspector.

    .venv/bin/python bench/full.py                      # makes the data once, in latentkit's cache; then a run
    .venv/bin/python bench/full.py --recipes quick best # other recipes

125 000 captions x 1024 and 25 000 images x 1536 are two views of the same hidden causes, and so are the captions'
words. Captions are linear in the causes, images are waves of them: a linear map does half of the work. Memory is that
of all processes together, shared pages counted once (PSS), looked at twice a second.
"""
import argparse, importlib, json, socket, subprocess, sys, tempfile, threading, time, urllib.request
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import numpy as np
import psutil

N, EACH, DX, DY, TESTS = 125_000, 5, 1024, 1536, 2_000
CAUSES, NOISE, WAVES, PACE = 32, 1.2, 128, 1.8 # of an image; of a caption; waves, and how fast they go with the causes
LENGTH, BLOCK = 11, 5_000 # words a caption, on average; rows a piece
MOST_MEMORY, MOST_OUTSIDE, MOST_REPORT, MOST_INSPECTOR = 4., .15, 10., 10. # GB, share, seconds, seconds

# stage -> what is timed, without what it calls of another stage
STAGES = {
    "reading": ["data.find_data", "data.read_pairs", "data.read_queries", "data.split_by_image", "more.read_extra",
                "checkpoint.training_fingerprint"],
    "words": ["words.fit_words", "views.with_views", "views.Views.of"],
    "closed form": ["models.Canonical.start", "networks.start_affine", "networks.CanonicalMLP.start",
                    "networks.LatentMapper.start", "models.PCACosine.start", "train.finish_model"],
    "training": ["train.train_epochs"],
    "judging": ["train.judge", "train.measure"],
    "predicting": ["checkpoint.Checkpoint.predict"],
    "writing": ["checkpoint.Checkpoint.save", "ensemble.Predictions.save", "ensemble.check_submission",
                "ensemble.save_gallery"],
    "report": ["report.report"],
}


class Stopwatch:
    "Seconds by stage, each without the stages inside it."
    def __init__(self):
        self.seconds, self.open, self.since = {}, ["rest"], time.perf_counter()

    def charge(self):
        now = time.perf_counter()
        self.seconds[self.open[-1]] = self.seconds.get(self.open[-1], 0.) + now - self.since
        self.since = now

    @contextmanager
    def stage(self, name):
        self.charge()
        self.open.append(name)
        try:
            yield
        finally:
            self.charge()
            self.open.pop()

    def timed(self, name, function):
        "The function, or a generator's steps, on this watch."
        def steps(*args, **kwargs):
            generator, end = function(*args, **kwargs), object()
            while True:
                with self.stage(name):
                    value = next(generator, end)
                if value is end:
                    return
                yield value

        @wraps(function)
        def call(*args, **kwargs):
            with self.stage(name):
                return function(*args, **kwargs)
        return steps if name == "training" else call


def watch(path):
    "In the run's kernel: put `STAGES` on a watch, wherever their names are known. Gives what writes the figures."
    for name in ["report", *{name.split(".")[0] for names in STAGES.values() for name in names}]:
        importlib.import_module(f"latentkit.{name}")
    stopwatch = Stopwatch()
    modules = [module for name, module in sys.modules.items() if name.startswith("latentkit")]
    for stage, names in STAGES.items():
        for name in names:
            room, *rest = name.split(".")
            owner = sys.modules[f"latentkit.{room}"]
            for part in rest[:-1]:
                owner = getattr(owner, part)
            plain = getattr(owner, rest[-1])
            slow = stopwatch.timed(stage, plain)
            setattr(owner, rest[-1], slow)
            for module in modules:
                for known in [key for key, value in vars(module).items() if value is plain]:
                    setattr(module, known, slow)

    def done():
        stopwatch.charge()
        Path(path).write_text(json.dumps(stopwatch.seconds))
    return done


def watched_notebook(path, figures):
    "The final notebook with two more cells: below its title, and at the end."
    import latentkit
    notebook = json.loads((Path(latentkit.__file__).parents[1]/"nbs"/"05_final.ipynb").read_text("utf-8"))
    first = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport full\n"
    sources = f"{first}done = full.watch({str(figures)!r})", "done()"
    before, after = ({"cell_type": "code", "id": f"watch{n}", "metadata": {}, "execution_count": None, "outputs": [],
                      "source": source} for n, source in enumerate(sources))
    title, *cells = notebook["cells"]
    notebook["cells"] = [title, before, *cells, after]
    path.write_text(json.dumps(notebook))


class Memory(threading.Thread):
    "The most memory that a process and its children have held together, in GB."
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.root, self.peak, self.when = psutil.Process(pid), 0., 0.
        self.began = time.perf_counter()
        self.start()

    def run(self):
        while self.root.is_running():
            total = 0
            try:
                for process in [self.root, *self.root.children(recursive=True)]:
                    total += process.memory_full_info().pss
            except psutil.Error: # one has just ended
                pass
            if total/1e9 > self.peak:
                self.peak, self.when = total/1e9, time.perf_counter() - self.began
            time.sleep(.5)


def words_of_causes(rng):
    "For each word the cause that it speaks of; words by rank, whose shares are Zipf's."
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    names = [x + y + z for x in syllables for y in syllables for z in ["", "n", "r"]][:2*CAUSES*60]
    rng.shuffle(names)
    names = np.array(names).reshape(2*CAUSES, 60)
    return names, np.cumsum(1/np.arange(1, 61))/np.sum(1/np.arange(1, 61))


LITTLE = np.array("a the in on with of and is at to".split())


def spoken(said, names, zipf, rng):
    "Captions (n,) of 8 to 14 words, of which a third are little ones."
    strength = np.concatenate([said, -said], 1)*.8
    chances = np.exp(strength - strength.max(1, keepdims=True)).cumsum(1)
    chances /= chances[:, -1:]
    captions = []
    for row in chances:
        count = rng.integers(LENGTH - 3, LENGTH + 4)
        topics = np.searchsorted(row, rng.random(count)).clip(max=len(names) - 1)
        words = names[topics, np.searchsorted(zipf, rng.random(count))]
        captions.append(" ".join(np.where(rng.random(count) < .33, rng.choice(LITTLE, count), words)))
    return captions


def make_data(folder):
    "Write train.npz and test.clean.npz, piece by piece."
    from latentkit.data import Pairs, Queries, write_pairs, write_queries
    rng = np.random.default_rng(0)
    to_text, to_waves, to_image = (rng.standard_normal((causes, dims), dtype="f4")/causes**.5 for causes, dims in
                                   [(CAUSES, DX), (CAUSES, WAVES), (WAVES, DY)])
    phase = rng.uniform(0, 2*np.pi, WAVES).astype("f4")
    words, captions, images = words_of_causes(rng), [], N//EACH
    cause = rng.standard_normal((images + TESTS, CAUSES), dtype="f4")
    text, image = (np.lib.format.open_memmap(folder/name, "w+", "f4", shape) for name, shape in
                   {"text.npy": (N + TESTS, DX), "image.npy": (images, DY)}.items())
    for start in range(0, images, BLOCK):
        part = cause[start:start+BLOCK][:images-start]
        waves = np.sin(PACE*part @ to_waves + phase)
        image[start:start+len(part)] = np.tanh(2*waves @ to_image) + .3*rng.standard_normal((len(part), DY), dtype="f4")
    image_of = np.repeat(np.arange(images), EACH)
    for start in range(0, N + TESTS, BLOCK):
        about = np.r_[image_of, images + np.arange(TESTS)][start:start+BLOCK]
        said = cause[about] + NOISE*rng.standard_normal((len(about), CAUSES), dtype="f4")
        seen = 2*said @ to_text/(1 + NOISE**2)**.5
        text[start:start+len(about)] = seen + .3*rng.standard_normal(seen.shape, dtype="f4")
        captions += spoken(said, *words, rng)
    captions, names = np.array(captions), np.array([f"{number:05}.jpg" for number in range(images)])
    write_pairs(folder/"train.npz", Pairs(text[:N], image, image_of, np.arange(N), captions[:N], names), compress=1)
    write_queries(folder/"test.clean.npz", Queries(np.asarray(text[N:]), np.arange(TESTS), captions[N:]))
    for name in "text.npy", "image.npy":
        (folder/name).unlink()


def full_data():
    "The folder of the data, made where it is missing."
    from latentkit.data import cache_folder
    from latentkit.files import atomic_folder
    folder = cache_folder()/f"full-{N}-{CAUSES}-{NOISE}-{WAVES}-{PACE}"
    if not folder.exists():
        print(f"making {N:,} x {DX} captions, {N//EACH:,} x {DY} images in {folder} ...", flush=True)
        with atomic_folder(folder, "full") as temporary:
            make_data(temporary)
    return folder


def run(data, out, recipes, epochs):
    "A run by the command: seconds by stage, and its `Memory`."
    watched_notebook(out/"watched.ipynb", out/"stages.json")
    command = [sys.executable, "-m", "latentkit", "run", "--data", data, "--out", out, "--epochs", str(epochs),
               "--notebook", out/"watched.ipynb", "--recipes", *recipes]
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)))
    memory = Memory(process.pid)
    if process.wait():
        raise SystemExit("the run has failed")
    stages = json.loads((out/"stages.json").read_text())
    stages["start, page"] = time.perf_counter() - began - sum(stages.values())
    return stages, memory


def inspector(data, out):
    "Seconds until the inspector tells its address, and its `Memory`."
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "latentkit", "inspect", "--no-browser", "--port", port, "--out", out,
               "--data", data]
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    memory = Memory(process.pid)
    try:
        while "Serving" not in (line := process.stdout.readline()): # it has made a first page by then
            if not line:
                raise SystemExit("the inspector has ended")
        seconds = time.perf_counter() - began
        page = urllib.request.urlopen(f"http://localhost:{port}", timeout=300).read().decode()
        if "jupyter.widget-view+json" not in page: # what Voila shows, once all cells have run
            raise SystemExit("the page does not hold the app")
        return seconds, memory
    finally:
        process.terminate()
        process.wait()


def line(what, value, most=None):
    "A figure, with its target where it has one."
    print(f"{what:34}{value:>12}" + (f"   target {most}" if most else ""))


def main(recipes, epochs):
    data = full_data()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        stages, memory = run(data, out, recipes, epochs)
        files = [path.stat().st_size for path in (out/"submission").iterdir()]
        ready, inspecting = inspector(data, out)
    total = sum(stages.values())
    print()
    for stage, seconds in stages.items():
        line(stage, f"{seconds:.1f} s")
    outside = total - stages["training"]
    line("all", f"{total:.1f} s")
    line("outside training", f"{outside/total:.0%}", f"{MOST_OUTSIDE:.0%}")
    line("peak memory", f"{memory.peak:.2f} GB", f"{MOST_MEMORY:g} GB")
    print(f"    after {memory.when:.0f} s")
    line("submission/", f"{sum(files)/1e6:.0f} MB in {len(files)} files")
    line("report", f"{stages['report']:.1f} s", f"{MOST_REPORT:g} s")
    line("inspector ready", f"{ready:.1f} s", f"{MOST_INSPECTOR:g} s")
    line("inspector's memory", f"{inspecting.peak:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", default=["quick", "A-rmlpa", "best", "best_words"])
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    main(options.recipes, options.epochs)
