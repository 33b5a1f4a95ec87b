"What the processes of a team do in tests/test_team.py."
import inspect
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from latentkit import gallery
from latentkit.data import split_by_image
from latentkit.losses import LOSSES, make_loss
from latentkit.models import MODELS, fold_moments
from latentkit.recipes import get_recipe
from latentkit.sample import toy
from latentkit.team import join, sum_gradients
from latentkit.train import Unfinished, fit

RECIPES = ("A-mlp", "A-rmlpa", "A-stitcher", "B-residual", "C-affine", "D-wide", "E-bigjump", "best",
           "best_words", "ridge")
OPTIONS = {"sum": {"weights": {"cosine": 1., "mse": .5}}}


def pairs_and_split():
    "Toy pairs whose captions have words."
    pairs = toy(images=240, each=4, dx=12, dy=16, causes=8)
    said = np.array([" ".join(["seen", *np.array([f"dim{k}" for k in range(16)])[latents < .02]])
                     for latents in pairs.image])
    pairs = replace(pairs, captions=said[pairs.image_of])
    return pairs, split_by_image(pairs.image_of, val=.2, test=.1)


def losses() -> dict:
    "Loss and gradients of two batches of every loss, for a linear model: what comes of a queue is in the second."
    team, found = join(), {}
    torch.manual_seed(1)
    batches = [(torch.randn(count, 6), torch.randn(count, 8), torch.arange(count)//2) for count in (13, 9)]
    for name in LOSSES:
        torch.manual_seed(0)
        model, loss = torch.nn.Linear(6, 8), make_loss(name, **OPTIONS.get(name, {}))
        loss.begin_epoch(3, 5)
        for x, y, image_ids in batches: # neither can be divided by two
            value = loss(team.gathered(model(team.part(x)), len(x)), y, image_ids)
            for p in [*model.parameters(), *loss.parameters()]:
                p.grad = None
            value.backward()
            sum_gradients(team, model, loss)
        learned = [p for p in [*model.parameters(), *loss.parameters()] if p.requires_grad and p.grad is not None]
        found[name] = [value.item(), *(value for p in learned for value in p.grad.flatten().tolist())]
    return found


def without_dropout(name: str):
    "A short, small recipe whose result does not hang on what a process has drawn."
    recipe = get_recipe(name)
    accepted = inspect.signature(MODELS[recipe.model].__init__).parameters
    small = {"dropout": 0., "input_dropout": 0., "hidden": 64}
    options = recipe.model_options | {key: value for key, value in small.items() if key in accepted}
    views = {name: said | ({"terms": 0.} if "terms" in said else {}) for name, said in recipe.views.items()}
    return recipe.but(epochs=min(6, recipe.epochs), batch_size=96, views=views, model_options=options)


def recipes() -> dict:
    "Validation MRR of ten recipes."
    pairs, split = pairs_and_split()
    return {name: fit(without_dropout(name), pairs, split, "cpu", progress=False, team=join()).metrics["val_mrr"]
            for name in RECIPES}


def ranks() -> dict:
    "Ranks in a gallery of many blocks, with copies; and moments of many blocks."
    rng, gallery.BLOCK = np.random.default_rng(0), 77
    latents = np.tile(rng.standard_normal((500, 24), "f4"), (2, 1))
    query, target = latents[:300] + rng.standard_normal((300, 24), "f4"), np.arange(300)
    x, image, image_of = torch.from_numpy(latents[:, :7]), torch.from_numpy(latents[::3, 7:]), torch.arange(1000)//3
    sums = fold_moments(x, image, image_of, 3, block=64, team=join())
    return {"ranks": gallery.gallery_ranks(query, latents, target, join()).tolist(),
            "moments": [value for m in sums for part in m.sums() for value in part.flatten().tolist()]}


def resume(folder: Path, kill: bool = False) -> dict:
    "What a training with dropout ends with that is killed in its third epoch, or goes on from there."
    pairs, split = pairs_and_split()
    recipe, team = get_recipe("best").but(epochs=4, batch_size=96), join()
    Unfinished.every = 0.
    def look(line):
        if kill and line["epoch"] == 3:
            os._exit(9)
    made = fit(recipe, pairs, split, "cpu", progress=False, report=look, team=team,
               unfinished=folder/"training.unfinished" if team.rank == 0 else None)
    return {"epochs": [line["mrr"] for line in made.history]}


def work(rank: int, size: int, port: int, folder: Path, *what: str) -> None:
    "Be one of so many processes, and do something; the first writes what has been found."
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "RANK": str(rank)}
    torch.set_num_threads(1)
    do = {"losses": losses, "recipes": recipes, "ranks": ranks, "resume": partial(resume, folder),
          "killed": partial(resume, folder, True)}
    for name in what:
        found = do[name]()
        if rank == 0:
            (folder/f"{name}-{size}.json").write_text(json.dumps(found))
