"""Galleries larger than memory: each kind of index beside the exact scan, exact ranks beside the bare matrix product.

    .venv/bin/python bench/gallery.py                 # 5 million images x 256 dims: 3 GB in a temporary folder
    .venv/bin/python bench/gallery.py --millions .2 --folder FOLDER     # where the files stay

Images lie around 20 000 centres that share 48 hidden causes, in half precision, in files of 250 000; queries are images
with noise. Each kind is built in a process of its own from files, then answers 300 queries one at a time. Flat and
HNSW are for smaller galleries, and are measured on the first 100 000 and 250 000 images. Last comes the inspector with
all images: a typed text is translated by two models, and two lists of ten pictures of 500 x 375 are shown.
"""
import argparse, json, resource, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path

import numpy as np

SHARD, CENTRES, CAUSES = 250_000, 20_000, 48
MOST = {"flat": 100_000, "HNSW": 250_000, "IVF-PQ": 10**9} # images that a kind is measured on
QUERIES, RANKED, FEW = 300, 2048, 5000 # pictures that the inspector shows, again and again


def make_files(folder, images, dims):
    "Files of latents."
    rng = np.random.default_rng(0)
    to_image = rng.standard_normal((CAUSES, dims), "f4")/CAUSES**.5
    centres = rng.standard_normal((CENTRES, CAUSES), "f4")
    noise = rng.standard_normal((1 << 16, dims), "f4")
    for number, start in enumerate(range(0, images, SHARD)):
        count = min(SHARD, images - start)
        cause = centres[rng.integers(CENTRES, size=count)] + .7*rng.standard_normal((count, CAUSES), "f4")
        latents = cause @ to_image + .3*noise[(np.arange(count) + rng.integers(1 << 16)) % (1 << 16)]
        np.save(folder/f"image_{number}.npy", latents.astype("f2"))
        print(f"\r{(start + count)/1e6:.2f} million images written", end="", flush=True)
    print()


def files_of(folder, most):
    "The first files, as many as have `most` images."
    from latentkit.shards import Shards, latents_of
    paths = sorted(folder.glob("image_*.npy"), key=lambda path: int(path.stem.split("_")[1]))
    whole = latents_of(paths)
    if len(whole) <= most:
        return whole
    count = max(1, int(np.searchsorted(whole.ends, most, "right")))
    part = Shards(paths[:count], np.diff(whole.ends, prepend=0)[:count], whole.shape[1:])
    return part[:most] if len(part) > most else part # an array is kept in the cache


def queries_of(latents, count):
    "Images with as much noise as they have latent, and their rows."
    rng = np.random.default_rng(1)
    rows = np.sort(rng.integers(len(latents), size=count))
    found = np.asarray(latents[rows])
    spread = found.std()
    return found + .8*spread*rng.standard_normal(found.shape, "f4"), rows


def peak():
    "MB of memory that this process has held at most, mapped files among them."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def answers(search, query):
    "Milliseconds of one answer: median and 95th percentile."
    spent = []
    for one in query:
        began = time.perf_counter()
        search(one[None], 10)
        spent.append(1000*(time.perf_counter() - began))
    return float(np.median(spent)), float(np.quantile(spent, .95))


def measure(kind, folder):
    "The figures of a kind of index."
    from latentkit.gallery import Gallery, exact_search, identity_of, place_of
    from latentkit.retrieval import unit
    latents = files_of(folder, MOST[kind])
    query, _ = queries_of(latents, QUERIES)
    began = time.perf_counter()
    gallery = Gallery(latents, query, kind, progress=False)
    seconds = time.perf_counter() - began
    if kind != "flat":
        path = place_of(latents, identity_of(latents), kind)
        size = path.stat().st_size/1e6
    began = time.perf_counter()
    Gallery(latents, query, kind, progress=False)
    again, peaked = time.perf_counter() - began, peak()
    few = unit(query[:3], "queries")
    began = time.perf_counter()
    for one in few:
        exact_search(gallery, one[None], 10)
    scan = 1000*(time.perf_counter() - began)/len(few)
    median, high = answers(gallery.search, query)
    return {"kind": gallery.kind, "images": len(gallery), "build": seconds, "again": again,
            "MB": size if kind != "flat" else 0, "recall": gallery.recall, "median": median, "high": high,
            "scan": scan, "peak": peaked}


def measure_ranks(folder):
    "Query-image pairs a second: of exact ranks, and of the matrix product alone."
    import torch
    from latentkit.gallery import BLOCK, gallery_ranks
    latents = files_of(folder, 10**9)
    query, rows = queries_of(latents, RANKED)
    began = time.perf_counter()
    ranks = gallery_ranks(query, latents, rows)
    rate = len(query)*len(latents)/(time.perf_counter() - began)
    gallery, out = torch.randn(BLOCK, latents.shape[1]), torch.empty(len(query), BLOCK)
    torch.mm(torch.tensor(query), gallery.T, out=out)
    began, times = time.perf_counter(), 50
    for _ in range(times):
        torch.mm(torch.tensor(query), gallery.T, out=out)
    bare = times*len(query)*BLOCK/(time.perf_counter() - began)
    return {"images": len(latents), "rate": rate, "bare": bare, "mrr": float((1/ranks).mean()), "peak": peak()}


def measure_app(folder):
    "Milliseconds of the inspector's answer to a text that is typed, asked of all pictures."
    from types import SimpleNamespace
    from PIL import Image
    from latentkit.data import Pairs
    from latentkit.inspect_ui import inspect
    latents, rng = files_of(folder, 10**9), np.random.default_rng(2)
    query, rows = queries_of(latents, QUERIES)
    pictures = folder/"pictures"
    pictures.mkdir(exist_ok=True)
    for number in range(FEW):
        small = Image.fromarray(rng.integers(0, 255, (15, 20, 3), np.uint8))
        small.resize((500, 375)).save(pictures/f"{number:05}.jpg", quality=85)
    names = np.array([f"{number:05}.jpg" for number in range(FEW)])[np.arange(len(latents)) % FEW]
    pairs = Pairs(query, latents, rows, np.arange(QUERIES), np.array(["a dog"]*QUERIES), names)
    models = {name: SimpleNamespace(predict=lambda of: of.text) for name in "ab"}
    app = inspect(pairs, dict.fromkeys(models, query), folder=pictures, models=models, marks=folder/"marks.csv", k=10,
                  encoder=lambda texts: query[[int(texts[0].split()[0])]])
    app.beside.value, app.view.value, app.where.value = "b", "text", "all"
    app.text.value = "0 dogs"
    while app.seen.everything is None:
        time.sleep(.1)
    spent = []
    for number in range(QUERIES):
        began = time.perf_counter()
        app.text.value = f"{number} cats"
        spent.append(1000*(time.perf_counter() - began))
        if "among all" not in str(app.page.html):
            raise SystemExit("the page does not hold the answer")
    return {"images": len(latents), "median": float(np.median(spent)), "high": float(np.quantile(spent, .95)),
            "peak": peak()}


def apart(stage, folder):
    "What a stage gives in a process of its own."
    done = subprocess.run([sys.executable, __file__, "--stage", stage, "--folder", str(folder)], capture_output=True,
                          text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(millions, dims, folder, stages):
    "Make the files, where they are missing, and print a line a stage."
    if not list(folder.glob("image_*.npy")):
        make_files(folder, int(millions*1e6), dims)
    for stage in stages:
        f = apart(stage, folder)
        if stage == "app":
            print(f"the inspector's answer among {f['images']:,} pictures {f['median']:.1f} ms, 95th percentile "
                  f"{f['high']:.1f} ms; peak {f['peak']:,.0f} MB", flush=True)
        elif stage == "ranks":
            print(f"exact ranks of {RANKED:,} queries in {f['images']:,} images: {f['rate']/1e6:.1f} million pairs/s, "
                  f"{f['rate']/f['bare']:.0%} of the bare product ({f['bare']/1e6:.1f}); MRR {f['mrr']:.3f}; "
                  f"peak {f['peak']:,.0f} MB", flush=True)
        else:
            print(f"{f['kind']:7}{f['images']:11,} images: built in {f['build']:.0f} s, read in {f['again']:.1f} s, "
                  f"{f['MB']:,.0f} MB; recall@10 {f['recall']:.3f}; an answer {f['median']:.1f} ms, 95th percentile "
                  f"{f['high']:.1f} ms; exact scan {f['scan']:,.0f} ms; peak {f['peak']:,.0f} MB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, default=5)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="with the files of an earlier call, or for new ones that stay")
    parser.add_argument("--stages", nargs="+", default=["flat", "HNSW", "IVF-PQ", "ranks", "app"])
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        others = {"ranks": measure_ranks, "app": measure_app}
        found = others.get(options.stage, partial(measure, options.stage))(options.folder)
        print(json.dumps(found))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(options.millions, options.dims, options.folder or Path(made), options.stages)
