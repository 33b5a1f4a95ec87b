"""What each part of the recipe `best` is worth, and what each start gives in how much time; on Flickr8k, by the captions of 900 images that no variant learns from.

    .venv/bin/python bench/best.py ../shared/flickr8k           # variants, each against `best`, paired by image
    .venv/bin/python bench/best.py ../shared/flickr8k --starts  # four starts, three lengths of training
"""
import sys
from dataclasses import replace

import numpy as np

from latentkit.data import Split, find_data, read_pairs, split_by_image
from latentkit.retrieval import better_than, full_ranks
from latentkit.train import BEST, fit, get_recipe

source = find_data(sys.argv[1])
pairs = read_pairs(source.train, source.captions)
split = split_by_image(pairs.image_of)
learnt = np.unique(pairs.image_of[split.train])
apart = np.isin(pairs.image_of, np.random.default_rng(5).choice(learnt, len(learnt)//9, replace=False)) # beside the validation images; the unseen ones stay unseen
split = Split(np.setdiff1d(split.train, np.flatnonzero(apart)), np.sort(np.r_[split.val, np.flatnonzero(apart)]), split.test)
images, target = pairs.gallery(split.val)

def judge(recipe):
    "Ranks of the validation captions at the end of the training, and its seconds."
    checkpoint = fit(recipe, pairs, split, progress=False)
    return full_ranks(checkpoint.predict(pairs, split.val), pairs.image[images], target), checkpoint.seconds[-1], checkpoint.metrics["best_epoch"]

def variant(name, track="latents", options=None, weights=None, **changes):
    "`best` with something changed."
    loss = BEST["loss_options"] | ({"weights": weights} if weights else {})
    return replace(get_recipe("best"), name=name, track=track, model_options=BEST["model_options"] | (options or {}), loss_options=loss, **changes)

if "--starts" in sys.argv:
    for start in "canonical", "ridge", "whitened_procrustes", None:
        for epochs in 1, 8, 40:
            ranks, seconds, best = judge(variant("start", options={"closed_form": start}, epochs=epochs, lr=1e-3 if start else 2e-3))
            print(f"{start or 'random':20} {epochs:3} epochs {seconds:4.0f} s  MRR {(1/ranks).mean():.4f}, best epoch {best}", flush=True)
else:
    base, seconds, best = judge(get_recipe("best"))
    print(f"{'best':34} MRR {(1/base).mean():.4f} {'':34} {seconds:4.0f} s, best epoch {best}   ({len(target):,} captions, {len(images)} images)", flush=True)
    for recipe in [
        get_recipe("quick"),
        variant("InfoNCE alone", weights={"infonce": 1.}),
        variant("hardest negative alone", weights={"triplet": 16.}),
        variant("captions not moved", mix=0., jitter=0.),
        variant("no jitter", jitter=0.),
        variant("no input dropout", options={"input_dropout": 0.}),
        variant("hidden 2048, dropout 0.5", options={"hidden": 2048, "dropout": .5}),
        variant("linear: hidden 1", options={"hidden": 1}),
        variant("two hidden layers of 2048", options={"hidden": 2048, "dropout": .5, "layers": 2}),
        variant("batch 1024", batch_size=1024),
        variant("batch 256", batch_size=256),
        variant("weights not averaged", ema=0.),
        get_recipe("best_random"),
        get_recipe("best_words"),
    ]:
        ranks, seconds, best = judge(recipe)
        row = better_than(ranks, base, target)
        print(f"{recipe.name:34} MRR {(1/ranks).mean():.4f} {row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) {seconds:6.0f} s, best epoch {best}", flush=True)
