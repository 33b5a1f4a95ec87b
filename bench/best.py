"""What each part of `best` is worth, on Flickr8k, by the captions of 900 images that no variant learns from.

    .venv/bin/python bench/best.py ../shared/flickr8k           # variants, three seeds, paired by image
    .venv/bin/python bench/best.py ../shared/flickr8k --starts  # four starts, trained for 10 s, 1 min, 5 min
    .venv/bin/python bench/best.py ../shared/flickr8k --soon    # how soon `best` is as good as A-rmlpa in the end
    .venv/bin/python bench/best.py ../shared/flickr8k --rows    # dropout of a whole batch against dropout row by row
"""
import sys
from unittest.mock import patch

import numpy as np
from aside import SEEDS, images, pairs, split, target, whole

from latentkit.recipes import get_recipe
from latentkit.retrieval import better_than, full_ranks
from latentkit.train import fit


def ranks_of(checkpoint):
    "Ranks of the captions that nothing learns from."
    return full_ranks(checkpoint.predict(pairs, split.val), pairs.image[images], target)


def judge(recipe):
    "Seconds of the slowest seed, and the ranks of all seeds in a row."
    trained = [fit(recipe.but(seed=seed, refit=False), pairs, split, progress=False) for seed in SEEDS]
    return max(checkpoint.seconds[-1] for checkpoint in trained), np.concatenate([ranks_of(c) for c in trained])


def variant(name, base="best", options=None, **changes):
    "A recipe with something changed."
    recipe = get_recipe(base)
    return recipe.but(name=name, model_options=recipe.model_options | (options or {}), **changes)


def parts():
    "Each variant against what it varies, all seeds of one against all seeds of the other."
    alone = dict(loss="infonce", loss_options=get_recipe("best").loss_options["options"]["infonce"])
    hardest = dict(loss="triplet", loss_options={"margin": .1})
    variants = [
        ("best", variant("no hub offset", options={"offset": False})),
        ("best", variant("float32", precision="float32")),
        ("best", variant("InfoNCE alone", **alone)),
        ("best", variant("hardest negative alone", **hardest)),
        ("best", variant("no input dropout", options={"input_dropout": 0.})),
        ("best", variant("hidden 2048, dropout 0.5", options={"hidden": 2048, "dropout": .5})),
        ("best", variant("linear: hidden 1", options={"hidden": 1})),
        ("best", variant("two hidden layers", options={"layers": 2})),
        ("best", variant("weights not averaged", ema=0.)),
        ("best", get_recipe("best_256")), ("best", get_recipe("best_random")), ("best", get_recipe("best_words")),
        ("best_words", variant("words, input dropout 0.2", "best_words", {"input_dropout": .2})),
        ("best_words", get_recipe("best_words_random")),
        ("quick", variant("quick, no hub offset", "quick", {"offset": False})),
        ("quick", get_recipe("canonical_rff")), ("quick", get_recipe("quick_words")),
    ]
    print("| variant | MRR | difference, 95 % | against | seconds |\n|---|---|---|---|---|")
    bases = {}
    for name in "best", "best_words", "quick":
        seconds, bases[name] = judge(get_recipe(name))
        print(f"| {name} | {(1/bases[name]).mean():.4f} | | | {seconds:.0f} |", flush=True)
    for base, recipe in variants:
        seconds, ranks = judge(recipe)
        row = better_than(ranks, bases[base], np.tile(target, len(SEEDS)))
        difference = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
        print(f"| {recipe.name} | {(1/ranks).mean():.4f} | {difference} | {base} | {seconds:.0f} |", flush=True)


def starts():
    "For each start and time, as many epochs as fit into that time, by the pace of the two first."
    fit(get_recipe("best").but(epochs=1, refit=False), pairs, split, progress=False) # the first epochs are slower
    for start in "canonical", "ridge", "whitened_procrustes", None:
        recipe = variant("start", options={"closed_form": start}, lr=1e-3 if start else 2e-3, refit=False)
        pace = fit(recipe.but(epochs=2), pairs, split, progress=False).seconds
        for seconds in 10, 60, 300:
            epochs = max(1, int((seconds - pace[0])/(pace[2] - pace[0])*2))
            checkpoint = fit(recipe.but(epochs=epochs), pairs, split, progress=False)
            before, after = checkpoint.history[0]["mrr"], (1/ranks_of(checkpoint)).mean()
            print(f"{start or 'random':20} {seconds:4} s: {epochs:3} epochs in {checkpoint.seconds[-1]:4.0f} s, "
                  f"MRR before training {before:.4f}, at its end {after:.4f}, "
                  f"best epoch {checkpoint.metrics['best_epoch']}", flush=True)


def soon():
    "Seconds until the validation MRR of A-rmlpa's best epoch is reached."
    theirs = fit(get_recipe("A-rmlpa").but(monitor="full"), pairs, whole)
    goal, pace = max(line["mrr"] for line in theirs.history), np.median(np.diff(theirs.seconds))
    print(f"A-rmlpa: MRR {goal:.4f} in epoch {theirs.metrics['best_epoch']}; its training ends after "
          f"{theirs.seconds[-1]:.0f} s and {len(theirs.seconds)-1} epochs of {pace:.1f} s", flush=True)

    def reached(line):
        "Stop at the goal."
        if line["mrr"] >= goal:
            raise KeyboardInterrupt
    for precision in "mixed", "float32":
        ours = fit(get_recipe("best").but(refit=False, precision=precision), pairs, whole, progress=False,
                   report=reached)
        there = [second for line, second in zip(ours.history, ours.seconds) if line["mrr"] >= goal]
        found = f"is there after {there[0]:.1f} s, 1/{theirs.seconds[-1]/there[0]:.0f}" if there else "never is"
        print(f"best ({precision}) {found}", flush=True)


def rows():
    "Dropout that takes the same units from a whole batch, see `thinned`, against one that draws for each row."
    seconds, ranks = judge(get_recipe("best"))
    with patch("latentkit.networks.thinned", lambda layers, x: layers(x)):
        slow, others = judge(get_recipe("best"))
    row = better_than(ranks, others, np.tile(target, len(SEEDS)))
    print(f"MRR {(1/ranks).mean():.4f} in {seconds:.0f} s, row by row {(1/others).mean():.4f} in {slow:.0f} s: "
          f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})", flush=True)


{"--rows": rows, "--starts": starts, "--soon": soon}.get(sys.argv[-1], parts)()
