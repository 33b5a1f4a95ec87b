"""What each part of the recipe `best` is worth, and what each start gives in how much time; on Flickr8k, by the captions of 900 images that no variant learns from.

    .venv/bin/python bench/best.py ../shared/flickr8k           # variants, each against `best`, paired by image
    .venv/bin/python bench/best.py ../shared/flickr8k --starts  # four starts, trained for 10 s, 1 min, 5 min
    .venv/bin/python bench/best.py ../shared/flickr8k --soon    # how soon `best` is as good as A-rmlpa in the end, by validation
"""
import sys
from dataclasses import replace

import numpy as np
import torch

from latentkit.data import Split, find_data, read_pairs, split_by_image
from latentkit.retrieval import better_than, full_ranks, ranks_in
from latentkit.train import fit, get_recipe

source = find_data(sys.argv[1])
pairs = read_pairs(source.train, source.captions)
whole = split_by_image(pairs.image_of)
learnt = np.unique(pairs.image_of[whole.train])
apart = np.isin(pairs.image_of, np.random.default_rng(5).choice(learnt, len(learnt)//9, replace=False)) # beside the validation images; the unseen ones stay unseen
split = Split(np.setdiff1d(whole.train, np.flatnonzero(apart)), np.sort(np.r_[whole.val, np.flatnonzero(apart)]), whole.test)
images, target = pairs.gallery(split.val)

def judge(recipe):
    "The trained checkpoint, and the ranks of the validation captions."
    checkpoint = fit(replace(recipe, refit=False), pairs, split, progress=False)
    return checkpoint, full_ranks(checkpoint.predict(pairs, split.val), pairs.image[images], target)

def variant(name, options=None, weights=None, base="best", **changes):
    "`best` with something changed."
    recipe = get_recipe(base)
    loss = recipe.loss_options | ({"weights": weights} if weights else {})
    return replace(recipe, name=name, model_options=recipe.model_options | (options or {}), loss_options=loss, **changes)

def starts():
    "For each start and time, as many epochs as fit into that time, by the pace of the two first."
    judge(get_recipe("best", epochs=1)) # the first epochs of a process are slower
    for start in "canonical", "ridge", "whitened_procrustes", None:
        recipe = variant("start", {"closed_form": start}, lr=1e-3 if start else 2e-3)
        pace = judge(replace(recipe, epochs=2))[0].seconds
        for seconds in 10, 60, 300:
            checkpoint, ranks = judge(replace(recipe, epochs=max(1, int((seconds - pace[0])/(pace[2] - pace[0])*2))))
            print(f"{start or 'random':20} {seconds:4} s: {len(checkpoint.history) - 1:3} epochs in {checkpoint.seconds[-1]:4.0f} s, start {checkpoint.seconds[0]:.1f} s, MRR before training {checkpoint.history[0]['mrr']:.4f}, at its end {(1/ranks).mean():.4f}, best epoch {checkpoint.metrics['best_epoch']}", flush=True)

def soon():
    "Seconds until the validation MRR of A-rmlpa's best epoch is reached."
    theirs = fit(get_recipe("A-rmlpa", monitor="full"), pairs, whole, progress=False)
    goal = max(line["mrr"] for line in theirs.history)
    for recipe in get_recipe("best", refit=False), get_recipe("best", refit=False, precision="float32"):
        ours = fit(recipe, pairs, whole, progress=False)
        when = next((second for line, second in zip(ours.history, ours.seconds) if line["mrr"] >= goal), float("nan"))
        print(f"validation MRR {goal:.4f}: A-rmlpa's training ends after {theirs.seconds[-1]:.0f} s, best ({recipe.precision}) is there after {when:.1f} s, 1/{theirs.seconds[-1]/when:.0f}", flush=True)

def marked_down(checkpoint):
    "Ranks if the scorer marked each image down by its nearness to one caption of every training image, as querybank normalisation does: what no query can do."
    cosines = lambda rows: torch.nn.functional.normalize(torch.tensor(checkpoint.predict(pairs, rows))) @ torch.nn.functional.normalize(torch.tensor(pairs.image[images])).T
    bank = split.train[np.unique(pairs.image_of[split.train], return_index=True)[1]]
    return ranks_in(cosines(split.val) - torch.logsumexp(20*cosines(bank), 0)/20, torch.tensor(target)).numpy()

def parts():
    "Each variant against what it varies."
    bases = {}
    for name in "best", "best_words", "quick":
        checkpoint, bases[name] = judge(get_recipe(name))
        print(f"{name:36} MRR {(1/bases[name]).mean():.4f} {'':28} {checkpoint.seconds[-1]:4.0f} s, best epoch {checkpoint.metrics['best_epoch']}   ({len(target):,} captions, {len(images)} images)", flush=True)
    for recipe, base in [
        (variant("no hub offset", {"offset": False}), "best"),
        (variant("float32", precision="float32"), "best"),
        (variant("InfoNCE alone", weights={"infonce": 1.}), "best"),
        (variant("hardest negative alone", weights={"triplet": 16.}), "best"),
        (variant("captions not moved", mix=0., jitter=0.), "best"),
        (variant("no jitter", jitter=0.), "best"),
        (variant("no input dropout", {"input_dropout": 0.}), "best"),
        (variant("hidden 2048, dropout 0.5", {"hidden": 2048, "dropout": .5}), "best"),
        (variant("linear: hidden 1", {"hidden": 1}), "best"),
        (variant("two hidden layers of 2048", {"hidden": 2048, "dropout": .5, "layers": 2}), "best"),
        (variant("batch 1024", batch_size=1024), "best"),
        (variant("batch 256 (best_256)", batch_size=256), "best"),
        (variant("weights not averaged", ema=0.), "best"),
        (variant("another seed", seed=43), "best"),
        (get_recipe("best_random"), "best"),
        (get_recipe("best_words"), "best"),
        (variant("words, no hub offset", {"offset": False}, base="best_words"), "best_words"),
        (variant("words, input dropout 0.2", {"input_dropout": .2}, base="best_words"), "best_words"),
        (variant("quick, no hub offset", {"offset": False}, base="quick"), "quick"),
        (get_recipe("canonical_rff"), "quick"),
        (get_recipe("quick_words"), "quick"),
    ]:
        checkpoint, ranks = judge(recipe)
        row = better_than(ranks, bases[base], target)
        print(f"{recipe.name:36} MRR {(1/ranks).mean():.4f} {row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) {checkpoint.seconds[-1]:5.0f} s, best epoch {checkpoint.metrics['best_epoch']}, against {base}", flush=True)
        if recipe.name == "no hub offset": print(f"{'  and each image marked down':36} MRR {(1/marked_down(checkpoint)).mean():.4f}", flush=True)

(starts if "--starts" in sys.argv else soon if "--soon" in sys.argv else parts)()
