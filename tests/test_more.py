"More to learn from: extra pairs, views and variants pass through a whole run, and nothing judged is learned from."
import os
from dataclasses import replace
from pathlib import Path

import final
import numpy as np
import pytest
from latentkit.checkpoint import Checkpoint
from latentkit.data import Split, read_pairs, read_queries, split_by_image, write_npz, write_pairs
from latentkit.files import InputError
from latentkit.more import join_extra
from latentkit.recipes import get_recipe
from latentkit.sample import toy
from latentkit.train import Unfinished, fit

SMALL = {"hidden": 32, "dropout": .1, "input_dropout": .1}

@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    "Tiny data with variants, a view of them, and extra pairs, some of which are judged by."
    folder = tmp_path_factory.mktemp("more")
    data = final.tiny_data(folder/"data")
    pairs, queries = read_pairs(data/"train.npz"), read_queries(data/"test.clean.npz")
    write_npz(data/"variants.npz", {"images/variants": np.stack([pairs.image*1.1]).astype(np.float16),
                                    "images/names": pairs.names})
    rng = np.random.default_rng(0)
    for part, of in ("train", pairs), ("test", queries):
        view = of.text @ rng.normal(size=(12, 5)).astype("f4")
        write_npz(folder/"view"/f"{part}.npz", {"captions/ids": of.ids, "captions/embeddings": view})
    more = toy(images=260, each=3, dx=12, dy=16, causes=8, seed=0) # the first 200 images are those of the data
    write_pairs(folder/"more.npz", replace(more, captions=np.array([f"another {text}" for text in more.captions])))
    return {"data": data, "view": folder/"view", "extra": folder/"more.npz", "folder": folder}

def test_whole_run_with_all_of_it(places):
    out = places["folder"]/"out"
    flags = final.flags(places["data"], out, RECIPES=["quick", "best_views"], EXTRA=[str(places["extra"])],
                        EXTRA_WEIGHT=.5, VIEWS={"other": str(places["view"])}, VARIANT_SHARE=.5, EPOCHS=1)
    said = final.finished(flags, places["folder"]/"log")
    assert "new images join" in said and "2 submissions of 10 rows" in said
    checkpoint = Checkpoint.load(out/"checkpoints"/"best_views_best_model.pth")
    assert list(checkpoint.recipe.views) == ["latents", "words", "other"]
    assert checkpoint.views.means["other"].shape == (5,)
    pairs = read_pairs(places["data"]/"train.npz")
    with pytest.raises(InputError, match="VIEWS = {'other': ...}"):
        checkpoint.predict(pairs)
    assert "loaded" in final.finished(flags, places["folder"]/"log")
    other = final.finished(flags | {"EXTRA": [], "EXTRA_WEIGHT": None}, places["folder"]/"log")
    assert other.count("trained again") == 2, "other pairs make other models"

def test_nothing_judged_is_learned_from(places, capsys):
    "The extra file holds every image of the data again: those of validation and the unseen part are left out."
    pairs, extra = read_pairs(places["data"]/"train.npz"), read_pairs(places["extra"])
    split = split_by_image(pairs.image_of)
    both, rows = join_extra(pairs, split, extra)
    learned = np.unique(both.image_of[np.r_[rows.train, rows.extra]])
    judged = np.unique(pairs.image_of[np.r_[split.val, split.test]])
    gallery = both.image[learned]/np.linalg.norm(both.image[learned], axis=1, keepdims=True)
    query = pairs.image[judged]/np.linalg.norm(pairs.image[judged], axis=1, keepdims=True)
    assert (query @ gallery.T).max() < .9999 and len(rows.extra) > 0
    assert (both.text[:len(pairs.text)] == pairs.text).all()

@pytest.mark.parametrize("name", ["quick", "best", "A-stitcher", "D-wide"])
def test_any_recipe_takes_extra_pairs(name):
    pairs = toy(images=80, each=3, dx=12, dy=16, causes=8)
    split = split_by_image(pairs.image_of, .1, .1)
    few = replace(split, train=split.train[:60], extra=split.train[60:])
    recipe = get_recipe(name).but(batch_size=32, patience=None, extra={"weight": .5, "epochs": 1})
    recipe = recipe.but(epochs=2, model_options={}) if recipe.epochs else recipe
    checkpoint = fit(recipe, pairs, few, "cpu", progress=False)
    alone = fit(recipe, pairs, Split(few.train, few.val, few.test), "cpu", progress=False)
    assert checkpoint.fingerprint != alone.fingerprint
    assert not np.array_equal(checkpoint.predict(pairs, few.val), alone.predict(pairs, few.val))

def test_a_killed_training_with_all_of_it_ends_with_the_same_bytes(tmp_path, monkeypatch):
    pairs = toy(images=80, each=3, dx=12, dy=16, causes=8)
    pairs = replace(pairs, views={"other": pairs.text[:, :4].copy()}, teacher=(pairs.text, pairs.image[:, :12].copy()),
                    variants=np.stack([pairs.image, -pairs.image]).astype(np.float16))
    split = split_by_image(pairs.image_of, .1, .1)
    split = replace(split, train=split.train[:100], extra=split.train[100:])
    recipe = get_recipe("best").but(
        epochs=4, batch_size=32, views={"latents": {}, "other": {"weight": .5, "drop": .3}},
        extra={"weight": .5, "epochs": 3}, variants=.5, teacher={"hardest": 4}, model_options=SMALL)
    monkeypatch.setattr(Unfinished, "every", 0.)
    whole = fit(recipe, pairs, split, "cpu", progress=False)

    def killed(line):
        if line["epoch"] == 3:
            raise SystemExit("killed")
    path = tmp_path/"x.unfinished"
    with pytest.raises(SystemExit):
        fit(recipe, pairs, split, "cpu", progress=False, report=killed, unfinished=path)
    again = fit(recipe, pairs, split, "cpu", progress=False, unfinished=path)
    for name, files in (("whole", whole), ("again", again)):
        files.save(tmp_path/f"{name}.pth")
    assert (tmp_path/"whole.pth").read_bytes() == (tmp_path/"again.pth").read_bytes()
    assert os.path.getsize(path) > 0
