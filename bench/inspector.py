"How long the inspector takes to answer: 30 000 captions and 6 000 pictures that have to be read, three models."
import statistics, tempfile, time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from latentkit.data import Pairs
from latentkit.inspect_ui import CAPTIONS, PICTURES, inspect

Q, G, D = 30_000, 6_000, 1_280
torch.set_num_threads(2)
rng = np.random.default_rng(0)
image = rng.standard_normal((G, D), dtype=np.float32)
image_of = np.repeat(np.arange(G), Q//G)
words = np.array(["dog", "girl", "snow", "red", "ball", "runs", "with", "on", "the", "grass", "two", "small", "beach", "man", "jumps"])
captions = np.array([" ".join(rng.choice(words, 10)) for _ in range(Q)])
pairs = Pairs(np.zeros((Q, 8), np.float32), image, image_of, np.arange(Q), captions, np.array([f"{g:05}.jpg" for g in range(G)]))
predictions = {name: image[image_of] + noise*rng.standard_normal((Q, D), dtype=np.float32) for name, noise in {"a": 8., "b": 10., "c": 12.}.items()}

with tempfile.TemporaryDirectory() as folder:
    for name in pairs.names: Image.fromarray(rng.integers(0, 255, (15, 20, 3), np.uint8)).resize((500, 375)).save(Path(folder)/name, quality=85)
    began = time.perf_counter()
    app = inspect(pairs, predictions, folder=folder, suspects=rng.random(Q), marks=Path(folder)/"marks.csv", k=10)
    print(f"{Q:,} captions, {G:,} pictures of 500 x 375, {len(predictions)} models, two shown; ready after {time.perf_counter() - began:.1f} s")
    app.beside.value = "b"

    def place(): app.place.value = int(rng.integers(1, len(app.listed)))
    def search(): app.search.value = " ".join(rng.choice(words, 2))
    def model(): app.name.value = str(rng.choice([name for name in predictions if name != app.name.value]))
    def order(): app.order.value = str(rng.choice([kind for kind in (CAPTIONS if app.kind == "caption" else PICTURES).values() if kind not in (app.order.value, "marked")]))
    def view(): app.view.value = "caption" if app.view.value == "picture" else "picture"
    def mark(): app.buttons["wrong"].click()
    for act, times in {place: 200, search: 100, model: 50, order: 50, mark: 50, view: 50}.items():
        app.search.value = app.search.value if act is search else ""
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - began)
        print(f"{act.__name__:7} median {1000*statistics.median(seconds):4.0f} ms, 95th percentile {1000*np.quantile(seconds, .95):4.0f} ms")
