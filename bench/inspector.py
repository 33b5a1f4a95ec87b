"How long the inspector takes to answer: 30 000 captions and 6 000 pictures that have to be read, three models."
import statistics, tempfile, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentkit.data import Pairs
from latentkit.inspect_ui import CAPTIONS, PICTURES, inspect

Q, G, D = 30_000, 6_000, 1_280
WORDS = "dog girl snow red ball runs with on the grass two small beach man jumps".split()
TIMES = {"place": 200, "search": 100, "model": 50, "order": 50, "mark": 50, "view": 50}
torch.set_num_threads(2)
rng = np.random.default_rng(0)


def made_pairs():
    "Random captions and images."
    image, image_of = rng.standard_normal((G, D), dtype=np.float32), np.repeat(np.arange(G), Q//G)
    captions = np.array([" ".join(rng.choice(WORDS, 10)) for _ in range(Q)])
    names = np.array([f"{g:05}.jpg" for g in range(G)])
    return Pairs(np.zeros((Q, 8), np.float32), image, image_of, np.arange(Q), captions, names)


def draw_pictures(names, folder):
    for name in names:
        small = Image.fromarray(rng.integers(0, 255, (15, 20, 3), np.uint8))
        small.resize((500, 375)).save(Path(folder)/name, quality=85)


def act(app, what):
    "Do as a person would."
    if what == "place":
        app.place.value = int(rng.integers(1, len(app.listed)))
    elif what == "search":
        app.search.value = " ".join(rng.choice(WORDS, 2))
    elif what == "model":
        app.name.value = str(rng.choice([name for name in app.seen.predictions if name != app.name.value]))
    elif what == "order":
        kinds = (CAPTIONS if app.kind == "caption" else PICTURES).values()
        app.order.value = str(rng.choice([kind for kind in kinds if kind not in (app.order.value, "marked")]))
    elif what == "view":
        app.view.value = "caption" if app.view.value == "picture" else "picture"
    else:
        app.buttons["wrong"].click()


pairs = made_pairs()
noise = {"a": 8., "b": 10., "c": 12.}
predictions = {name: pairs.image[pairs.image_of] + size*rng.standard_normal((Q, D), dtype=np.float32)
               for name, size in noise.items()}
with tempfile.TemporaryDirectory() as folder:
    draw_pictures(pairs.names, folder)
    began = time.perf_counter()
    app = inspect(pairs, predictions, folder=folder, suspects=rng.random(Q), marks=Path(folder)/"marks.csv", k=10)
    print(f"{Q:,} captions, {G:,} pictures of 500 x 375, {len(predictions)} models, two shown; "
          f"ready after {time.perf_counter() - began:.1f} s")
    app.beside.value = "b"
    for what, times in TIMES.items():
        app.search.value = app.search.value if what == "search" else ""
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            act(app, what)
            seconds.append(time.perf_counter() - began)
        median, high = 1000*statistics.median(seconds), 1000*np.quantile(seconds, .95)
        print(f"{what:7} median {median:4.0f} ms, 95th percentile {high:4.0f} ms")
