"""MRR against minutes: runs with MINUTES beside single recipes in the same time.

    .venv/bin/python bench/minutes.py ../shared/flickr8k run 1 3 10 30 60      # `latentkit run --minutes` each
    .venv/bin/python bench/minutes.py ../shared/flickr8k recipes 60 A-mlp best # each for so many minutes

Each replaces its own rows in bench/minutes.csv, from which nbs/03a_anytime.ipynb makes its figure. Runs go on where
they were in --out, so give an empty folder.
"""
import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from latentkit.checkpoint import Checkpoint
from latentkit.compare import compare
from latentkit.data import find_data, read_pairs, split_by_image
from latentkit.ensemble import blend
from latentkit.files import ROUND_TRIP, atomic
from latentkit.retrieval import full_ranks

TABLE = Path(__file__).with_name("minutes.csv")

def timeline(out: Path, minutes: str, pairs, split) -> list[dict]:
    "What submission.csv was and when, with the MRR of captions that chose nothing."
    lines = pd.read_csv(out/"submission"/"minutes.csv", **ROUND_TRIP)
    images, target = pairs.gallery(split.test)
    predicted, rows = {}, []
    for line in lines[lines.better].to_dict("records"):
        members = line["members"].split(", ")
        for name in set(members) - set(predicted):
            path = next(path for path in (out/"checkpoints").glob("*.pth") if Checkpoint.load(path).recipe.name == name)
            predicted[name] = Checkpoint.load(path).predict(pairs, split.test)
        latents = blend([predicted[name] for name in members], np.ones(len(members)))
        rows.append({"what": f"MINUTES={minutes}", "minute": line["minute"], "MRR": line["submission"],
                     "leaderboard": line["leaderboard"], "members": line["members"],
                     "unseen": float((1/full_ranks(latents, pairs.image[images], target)).mean())})
    return rows

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("part", choices=["run", "recipes"])
    parser.add_argument("given", nargs="+", help="minutes; or minutes and the recipes' names")
    parser.add_argument("--out", type=Path, default=Path("results/minutes"))
    options = parser.parse_args()
    source = find_data(options.data)
    pairs = read_pairs(source.train, source.captions)
    split, rows = split_by_image(pairs.image_of), []
    if options.part == "run":
        for minutes in options.given:
            command = [sys.executable, "-m", "latentkit", "run", "--data", options.data, "--minutes", minutes]
            subprocess.run([*command, "--out", str(options.out/minutes)], check=True)
            rows += timeline(options.out/minutes, minutes, pairs, split)
    else:
        minutes, *names = options.given
        found = compare(names, pairs, split, options.out, float(minutes))
        for name, log in found.logs.items():
            best = np.maximum.accumulate(log.mrr.to_numpy(float))
            rows += [{"what": name, "minute": second/60, "MRR": mrr} for second, mrr in zip(log.seconds, best)]
            rows[-1]["unseen"] = found.table.MRR[name]
    table = pd.DataFrame(rows)
    if TABLE.exists():
        known = pd.read_csv(TABLE, **ROUND_TRIP)
        table = pd.concat([known[~known.what.isin(table.what)], table])
    with atomic(TABLE) as temporary:
        table.round(5).to_csv(temporary, index=False)
    print(table.groupby("what", sort=False).last().round(3).to_string())

if __name__ == "__main__":
    main()
