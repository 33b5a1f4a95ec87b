"""Seconds until `best` is as good as A-rmlpa ever gets, on the full-size data of bench/full.py.

    .venv/bin/python bench/tenth.py

A-rmlpa trains by its own recipe to its own end, then `best` until its validation MRR is as high. Neither is refitted.
"""
import argparse

from full import full_data

from latentkit.data import find_data, read_pairs, split_by_image
from latentkit.recipes import get_recipe
from latentkit.train import fit


def trained(name, pairs, split, until=2.):
    "Seconds and validation MRR of each epoch, up to the first that is good enough."
    def look(line):
        if line["mrr"] >= until:
            raise KeyboardInterrupt
    made = fit(get_recipe(name).but(refit=False), pairs, split, report=look)
    return made.seconds, [line["mrr"] for line in made.history]


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    source = find_data(full_data())
    pairs = read_pairs(source.train, source.captions)
    split = split_by_image(pairs.image_of)
    seconds, mrr = trained("A-rmlpa", pairs, split)
    goal = max(mrr)
    when = seconds[mrr.index(goal)]
    print(f"A-rmlpa: MRR {goal:.4f} after {when:.0f} s (epoch {mrr.index(goal)}), its end after {seconds[-1]:.0f} s")
    seconds, mrr = trained("best", pairs, split, goal)
    first = next((second for second, value in zip(seconds, mrr) if value >= goal), None)
    if first is None:
        print(f"best: MRR {max(mrr):.4f} at most, after {seconds[-1]:.0f} s")
    else:
        print(f"best: MRR {goal:.4f} or more after {first:.0f} s, 1/{when/first:.1f} of the time")


if __name__ == "__main__":
    main()
