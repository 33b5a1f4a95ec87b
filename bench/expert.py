"""What a retrieval expert adds to the models of a run: the images of a caption's nearest training captions.

    .venv/bin/python bench/expert.py ../shared/flickr8k results/minutes/10

The expert is the softmax-weighted mean of the centred image latents of the nearest training captions, through the
inverse of the images' covariance with a ridge of one mean eigenvalue. It is added to the models' queries at a share of
their length. All captions of validation and unseen images are judged, which the models' first training has not seen.
"""
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from latentkit.checkpoint import Checkpoint
from latentkit.data import find_data, read_pairs, split_by_image
from latentkit.ensemble import blend
from latentkit.retrieval import better_than, full_ranks

COUNT, SHARPNESS, SHARES = 100, 20., (.1, .2, .4)

def expert(pairs, split, rows) -> torch.Tensor: # (n, Dy), of length 1
    "The expert's queries for captions."
    mean = torch.tensor(pairs.text[split.train]).mean(0)
    known, asked = (F.normalize(torch.tensor(pairs.text[part]) - mean) for part in (split.train, rows))
    image = F.normalize(torch.tensor(np.asarray(pairs.image)))
    image_of = torch.tensor(pairs.image_of[split.train])
    image = image - image[image_of].mean(0)
    cov = torch.cov(image[image_of.unique()].T)
    inverse = torch.linalg.inv(cov + cov.diagonal().mean()*torch.eye(len(cov)))
    found = []
    for part in asked.split(1024):
        near = (part @ known.T).topk(COUNT)
        weights = torch.softmax(SHARPNESS*near.values, 1)
        found.append((weights[:, :, None]*image[image_of[near.indices]]).sum(1) @ inverse)
    return F.normalize(torch.cat(found))

source = find_data(sys.argv[1])
pairs = read_pairs(source.train, source.captions)
split = split_by_image(pairs.image_of)
rows = np.r_[split.val, split.test]
images, target = pairs.gallery(rows)
loaded = [Checkpoint.load(path) for path in sorted((Path(sys.argv[2])/"checkpoints").glob("*.pth"))]
queries = {one.recipe.name: one.predict(pairs, rows) for one in loaded}
trained = [one.recipe.name for one in loaded if one.recipe.epochs]
if len(trained) > 1:
    queries["mean of " + ", ".join(trained)] = blend([queries[name] for name in trained], np.ones(len(trained)))
more = expert(pairs, split, rows)
for name, latents in queries.items():
    query = F.normalize(torch.tensor(latents))
    alone = full_ranks(query, pairs.image[images], target)
    print(f"{name}: {(1/alone).mean():.4f}")
    for share in SHARES:
        than = better_than(full_ranks(query + share*more, pairs.image[images], target), alone, target)
        print(f"  expert at {share}: {than['difference']:+.4f} ({than['low']:+.4f} to {than['high']:+.4f})", flush=True)
