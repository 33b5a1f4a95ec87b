"Pairs larger than memory: shards equal what they were made of, a damaged one is named, and what is held stays small."
import resource
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path

import final
import numpy as np
import pytest
import torch
from latentkit import train
from latentkit.checkpoint import Checkpoint
from latentkit.commands import main
from latentkit.data import Pairs, Split, read_pairs, split_by_image, write_pairs
from latentkit.files import InputError
from latentkit.models import StoredRows, moments
from latentkit.more import read_extra
from latentkit.recipes import get_recipe
from latentkit.sample import toy
from latentkit.shards import Shards, read_shards, write_shards
from latentkit.train import Batches, fit

pytestmark = pytest.mark.filterwarnings("ignore:.*copies of others") # as these tests' images are

SMALL = get_recipe("best").but(epochs=3, batch_size=64, model_options=dict(hidden=32, dropout=.2), refit=False)

@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    "The competition's files, the same as shards that the command has made, and clip-retrieval's output."
    folder = tmp_path_factory.mktemp("shards")
    data = final.tiny_data(folder/"data")
    line = "shard", "--data", str(data), "--out", str(folder/"made"), "--rows", "150", "--dtype", "float32"
    assert main(list(line)) == 0
    pairs = read_pairs(data/"train.npz")
    for name, latents in ("text", pairs.text), ("img", pairs.image[pairs.image_of]):
        (folder/"clip"/f"{name}_emb").mkdir(parents=True)
        for number, part in enumerate(np.array_split(latents.astype("f2"), 2)):
            np.save(folder/"clip"/f"{name}_emb"/f"{name}_emb_{number}.npy", part)
    return {"data": data, "made": folder/"made", "clip": folder/"clip", "folder": folder}

def test_command_makes_shards_that_equal_the_npz(places):
    pairs, made = read_pairs(places["data"]/"train.npz"), read_shards(places["made"])
    assert len(made.text.paths) == len(pairs.text)//150 and (places["made"]/"test.clean.npz").is_file()
    for key in "text", "image", "image_of", "ids", "captions", "names":
        assert (np.asarray(getattr(made, key)) == getattr(pairs, key)).all(), key

def test_command_takes_an_npz_and_what_clip_retrieval_writes(places):
    pairs = read_pairs(places["data"]/"train.npz")
    for source, images in (places["data"]/"train.npz", pairs.image), (places["clip"], pairs.image[pairs.image_of]):
        out = places["folder"]/f"from {source.name}"
        assert main(["shard", "--data", str(source), "--out", str(out)]) == 0
        made = read_shards(out)
        assert (made.text[:] == pairs.text.astype("f2")).all() and (made.image[:] == images.astype("f2")).all()
        assert made.fingerprint == read_shards(out).fingerprint

def test_command_checks_and_refuses(places, capsys):
    assert main(["shard", "--data", str(places["made"]), "--check"]) == 0 and "files of" in capsys.readouterr().out
    assert main(["shard", "--data", str(places["made"]), "--out", str(places["made"])]) == 2
    assert "a folder with something in it" in capsys.readouterr().err
    path = places["made"]/"image_00001.npy"
    whole, new = path.read_bytes(), places["folder"]/"new"
    for damaged, line, said in ((whole[:-1] + b"!", ["--check"], "found a checksum"),
                                (whole[:-1], ["--out", str(new)], "found a damaged"),
                                (None, ["--out", str(new)], "found no such file")):
        path.unlink(missing_ok=True)
        if damaged:
            path.write_bytes(damaged)
        assert main(["shard", "--data", str(places["made"]), *line]) == 2
        assert f"image_00001.npy: {said}" in capsys.readouterr().err and not any(new.glob("*"))
    path.write_bytes(whole)

def test_moments_are_those_of_the_npz(tmp_path):
    "With float32 the same numbers; with float16 those of rounded latents, and near the exact ones."
    pairs, found = toy(images=5000, each=3, dx=24, dy=32), {}
    for dtype in "float32", "float16":
        write_shards(pairs, tmp_path/dtype, 2000, dtype)
        filed = read_shards(tmp_path/dtype)
        in_files = (StoredRows(rows, torch.device("cpu")) for rows in (filed.text, filed.image))
        found[dtype] = moments(*in_files, torch.from_numpy(filed.image_of), block=1000)
    rounded = [rows.astype("f2").astype("f4") for rows in (pairs.text, pairs.image)]
    image_of = torch.tensor(pairs.image_of)
    exact, near = (moments(*map(torch.tensor, some), image_of) for some in ((pairs.text, pairs.image), rounded))
    for a, b in (found["float32"], exact), (found["float16"], near):
        assert all((x - y).norm() <= 1e-12*y.norm() for x, y in zip(a.sums(), b.sums()))
    for key in "xx", "yy", "xy":
        a, b = getattr(found["float16"], key), getattr(exact, key)
        assert 0 < (a - b).norm() < 3e-5*b.norm()

@pytest.fixture(scope="module")
def filed(tmp_path_factory) -> tuple[Pairs, Pairs, Split]:
    "Pairs in memory, the same in files, and their split."
    pairs = toy(images=300, each=3, dx=12, dy=16, causes=8)
    write_shards(pairs, folder := tmp_path_factory.mktemp("filed")/"shards", 200, "float32")
    return pairs, read_shards(folder), split_by_image(pairs.image_of, .15, .15)

@pytest.mark.parametrize("recipe", [get_recipe("ridge"), get_recipe("quick").but(refit=False), SMALL, get_recipe(
    "D-wide").but(epochs=4, batch_size=64, lr=2e-3, min_lr=2e-3, model_options=dict(hidden=64))],
                         ids=lambda recipe: recipe.name)
def test_recipes_learn_from_files_what_they_learn_in_memory(recipe, filed, monkeypatch):
    "In one window to the bit; in a dozen windows about as well."
    pairs, of_files, split = filed
    whole, same = (fit(recipe, some, split, "cpu", progress=False) for some in (pairs, of_files))
    assert (whole.predict(pairs) == same.predict(of_files)).all()
    monkeypatch.setattr(train, "WINDOW", 1 << 13)
    parts = fit(recipe, of_files, split, "cpu", progress=False)
    assert abs(parts.metrics["val_mrr"] - whole.metrics["val_mrr"]) < (.05 if recipe.epochs else 1e-6)

def test_refit_and_words_read_files(filed, monkeypatch):
    pairs, of_files, split = filed
    said = np.array([f"caption of {image % 7} and {image % 5} here" for image in pairs.image_of])
    monkeypatch.setattr(train, "WINDOW", 1 << 16)
    recipe = get_recipe("best_words").but(epochs=2, batch_size=64, model_options=dict(hidden=32))
    spoken = replace(of_files, captions=said)
    checkpoint = fit(recipe, spoken, split, "cpu", progress=False)
    assert checkpoint.final and checkpoint.views.words and len(checkpoint.predict(spoken, split.val)) == len(split.val)

class Held:
    "What `Shards` have given and what is still in use, in bytes."
    def __init__(self, monkeypatch):
        self.now = self.most = 0
        given = Shards.__getitem__
        def counted(shards, rows):
            found = given(shards, rows)
            self.now += found.nbytes
            self.most = max(self.most, self.now)
            weakref.finalize(found, self.drop, found.nbytes)
            return found
        monkeypatch.setattr(Shards, "__getitem__", counted)

    def drop(self, count):
        self.now -= count

def as_clip_retrieval(folder, count, dx=12, dy=16):
    "So many pairs in files, and a split of them whose validation is small."
    rng, to_image = np.random.default_rng(0), np.random.default_rng(1).normal(size=(dx, dy))
    for name in "text", "img":
        (folder/f"{name}_emb").mkdir(parents=True)
    for number in range(count//5_000):
        text = rng.normal(size=(5_000, dx))
        np.save(folder/f"text_emb/text_emb_{number}.npy", text.astype("f2"))
        np.save(folder/f"img_emb/img_emb_{number}.npy", np.tanh(text @ to_image).astype("f2"))
    rows = np.arange(count)
    return read_shards(folder), Split(rows[1000:], rows[:500], rows[500:1000])

def closed_form(pairs, split):
    "All that a closed form does: split, sums, choice of ridges, judging."
    fit(get_recipe("quick").but(refit=False), pairs, split, "cpu", progress=False)

def epoch(pairs, split):
    "All batches of an epoch."
    batches = Batches(get_recipe("best"), pairs, split.train, torch.device("cpu"))
    assert sum(len(x) for x, _, _, _ in batches.of(1)) > .8*len(split.train)

@pytest.mark.parametrize("read", [closed_form, epoch])
def test_what_is_held_does_not_grow(read, tmp_path, monkeypatch):
    "Rows of files, and all that numpy and Python hold, at four times as many pairs."
    monkeypatch.setattr(train, "WINDOW", 1 << 19)
    held, found = Held(monkeypatch), []
    for count in 25_000, 100_000:
        pairs, split = as_clip_retrieval(tmp_path/str(count), count)
        held.most = 0
        tracemalloc.start()
        read(pairs, split)
        found.append((held.most, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    (few, few_traced), (many, many_traced) = found
    more = 4*75_000*sum(pairs.dims)
    assert many <= 1.2*few < more/4 and many_traced - few_traced < more/8

def test_whole_run_over_shards(places):
    out = places["folder"]/"out"
    said = final.finished(final.flags(places["made"], out, RECIPES=["quick"], EPOCHS=1), places["folder"]/"log")
    assert "1 submissions of 10 rows" in said
    assert Checkpoint.load(out/"checkpoints"/"quick_best_model.pth").fingerprint.startswith(
        read_shards(places["made"]).fingerprint)

def test_extra_pairs_beside_shards_are_refused(places):
    made = read_shards(places["made"])
    write_pairs(places["folder"]/"more.npz", toy(images=20, each=3, dx=12, dy=16))
    with pytest.raises(InputError, match="EXTRA"):
        read_extra([places["folder"]/"more.npz"], made, split_by_image(made.image_of))

def test_thousands_of_files_need_few_handles(tmp_path):
    "More shards than a process may have files open."
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(300):
        np.save(tmp_path/f"text_{number}.npy", np.full((2, 3), number, "f2"))
        np.save(tmp_path/f"image_{number}.npy", np.full((2, 4), number, "f2"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, limit[0]), limit[1]))
    try:
        pairs = read_shards(tmp_path)
        assert (pairs.text[:][:, 0] == np.repeat(np.arange(300), 2)).all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
