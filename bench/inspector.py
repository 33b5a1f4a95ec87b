"""How long the inspector takes to answer: 30 000 captions and 6 000 pictures that have to be read, three models.

    .venv/bin/python bench/inspector.py
"""
import resource, statistics, tempfile, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentkit.data import Pairs
from latentkit.inspect_ui import inspect
from latentkit.inspection import CAPTIONS, COLOURS

Q, G, D = 30_000, 6_000, 1_280
WORDS = "dog girl snow red ball runs with on the grass two small beach man jumps".split()
TIMES = {"place": 200, "walk": 200, "key": 100, "search": 100, "filter": 100, "model": 50, "order": 50, "mark": 50,
         "view": 50, "map": 50, "lasso": 50, "hover": 100, "grid": 50, "mark many": 20, "address": 50}
VIEW = {"map": "map", "lasso": "map", "hover": "map", "grid": "grid", "mark many": "grid"} # where it is done
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


def other(widget, values):
    "Another value for a widget."
    widget.value = rng.choice([value for value in values if value != widget.value]).item()


ACTS = { # as a person would
    "place": lambda app: setattr(app.listing, "place", int(rng.integers(0, len(app.listed)))),
    "walk": lambda app: app.page.hear({"go": f"picture:{rng.integers(G)}"} if rng.random() < .5 else
                                      {"go": f"caption:{rng.integers(Q)}"}),
    "key": lambda app: app.page.hear({"key": str(rng.choice(["next", "previous", "page down", "last", "first"]))}),
    "search": lambda app: setattr(app.search, "value", " ".join(rng.choice(WORDS, 2))),
    "filter": lambda app: setattr(app.ranks, "value", (int(rng.integers(1, 50)), int(rng.integers(100, G)))),
    "model": lambda app: other(app.name, app.seen.predictions),
    "order": lambda app: other(app.order, CAPTIONS.values()),
    "mark": lambda app: app.buttons["wrong"].click(),
    "view": lambda app: other(app.view, ["caption", "picture"]),
    "map": lambda app: other(app.colour, COLOURS.values()),
    "lasso": lambda app: app.plane.hear({"lasso": rng.choice(Q, 2_000, replace=False).tolist()}),
    "hover": lambda app: app.plane.hear({"over": int(rng.integers(Q + G))}),
    "grid": lambda app: app.page.hear({"key": "next"}),
    "mark many": lambda app: (app.page.hear({"key": "all"}), app.buttons["doubtful"].click()),
    "address": lambda app: app.page.hear({"address": f"name={rng.choice(list('abc'))}&caption={rng.integers(Q)}"}),
}


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
        if what != "search":
            app.search.value = ""
        app.ranks.value, app.among.value = (1, G), False
        app.view.value = VIEW.get(what, "caption")
        app.order.value = "worst"
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            ACTS[what](app)
            seconds.append(time.perf_counter() - began)
        median, high = 1000*statistics.median(seconds), 1000*np.quantile(seconds, .95)
        print(f"{what:9} median {median:4.0f} ms, 95th percentile {high:4.0f} ms")
print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6:.1f} GB, the latents among them")
