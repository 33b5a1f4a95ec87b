"""What more to learn from is worth on Flickr8k, by the captions of 900 images that nothing learns from.

    .venv/bin/python bench/more.py ../shared/flickr8k curve      # `best` and `quick` on 750 to 5 100 images
    .venv/bin/python bench/more.py ../shared/flickr8k extra      # 1 500 images, and extra ones like or unlike them
    .venv/bin/python bench/more.py ../shared/flickr8k variants   # variants.npz: how many, how often, when
    .venv/bin/python bench/more.py ../shared/flickr8k views minilm=folder   # views, alone and together

Each replaces its own rows in bench/more.csv, from which nbs/02d_data.ipynb makes its tables and its figure.
"""
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from latentkit import train
from latentkit.data import Split, find_data, read_pairs
from latentkit.files import atomic
from latentkit.more import read_variants
from latentkit.recipes import get_recipe
from latentkit.retrieval import better_than, bootstrap_interval, full_ranks
from latentkit.train import fit
from latentkit.views import add_views

TABLE, JUDGED, SEEDS = Path(__file__).with_name("more.csv"), 900, (42, 43)
source = find_data(sys.argv[1])
pairs = read_pairs(source.train, source.captions)
shuffled = np.random.default_rng(5).permutation(len(pairs.image))
judged, pool = np.sort(shuffled[:JUDGED]), shuffled[JUDGED:]
val = np.flatnonzero(np.isin(pairs.image_of, judged))
images, target = pairs.gallery(val)
rows = []


def captions_of(chosen):
    "The caption rows of images."
    return np.flatnonzero(np.isin(pairs.image_of, chosen))


def ranks_of(recipe, chosen, of=None, extra=(), seeds=SEEDS):
    "Ranks of the judged captions, all seeds in a row, of a recipe that learns from the captions of some images."
    of = pairs if of is None else of
    split = Split(captions_of(chosen), val, val[:0], captions_of(extra) if len(extra) else np.empty(0, np.int64))
    found = [fit(recipe.but(seed=seed, refit=False), of, split, progress=False) for seed in seeds]
    return np.concatenate([full_ranks(one.predict(of, val), pairs.image[images], target) for one in found])


def note(name, count, ranks, against=None, base=None):
    "A row of the table: MRR, and the difference from another variant, paired by image."
    groups = np.tile(target, len(ranks)//len(target))
    low, high = bootstrap_interval(1/ranks, groups)
    row = {"part": sys.argv[2], "name": name, "images": count, "MRR": (1/ranks).mean(), "low": low, "high": high}
    if base is not None:
        than = better_than(ranks, base, groups)
        row |= {"against": against, "difference": than["difference"], "from": than["low"], "to": than["high"]}
    rows.append(row)
    print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)


def curve():
    "The same captions judge models that learned from more and more images, each set within the next."
    for name in "quick", "best":
        for count in 750, 1500, 3000, len(pool):
            seeds = SEEDS if get_recipe(name).epochs else SEEDS[:1]
            note(name, count, ranks_of(get_recipe(name), pool[:count], seeds=seeds))


def topic(count):
    "Images of one topic, as k-means over their captions' latents sees it: the nearest to the largest cluster's centre."
    mean = np.stack([pairs.text[pairs.image_of == image].mean(0) for image in range(len(pairs.image))])
    clusters = KMeans(4, n_init=4, random_state=0).fit(mean[pool])
    distance = clusters.transform(mean)[:, np.bincount(clusters.labels_).argmax()]
    others = pool[1500:]
    return others[distance[others].argsort()[:count]], distance[images[target]] <= np.quantile(distance[pool], .3)


def extra():
    "1 500 images, with as many or twice as many extra ones: of all topics, or of one."
    best, base = get_recipe("best"), pool[:1500]
    alone = ranks_of(best, base)
    note("1,500 images", 1500, alone)
    alike = ranks_of(best, base, extra=pool[1500:4500])
    note("and 3,000 extra", 4500, alike, "1,500 images", alone)
    some = ranks_of(best, base, extra=pool[1500:3000])
    note("and 1,500 extra", 3000, some, "1,500 images", alone)
    shifted, near = topic(1500)
    for name, options in {"and 1,500 of one topic": {}, "the same, half in each epoch": {"weight": .5},
                          "the same, first 5 epochs": {"epochs": 5}}.items():
        ranks = ranks_of(best.but(extra=options), base, extra=shifted)
        note(name, 3000, ranks, "1,500 images", alone)
        if not options:
            for which, part in ("of that topic", near), ("of others", ~near):
                part = np.tile(part, len(SEEDS))
                than = better_than(ranks[part], alone[part], np.tile(target, len(SEEDS))[part])
                rows.append({"part": "extra", "name": f"{name}, captions {which}", "images": 3000,
                             "MRR": (1/ranks[part]).mean(), "against": "1,500 images",
                             "difference": than["difference"], "from": than["low"], "to": than["high"]})
                print(rows[-1], flush=True)


def first_epochs(last):
    "`train.drawn_variants`, which draws nothing after some epochs."
    def drawn(batches, epoch, draw=train.drawn_variants):
        return draw(batches, epoch) if epoch <= last else None
    return drawn


def variants():
    "On 3 000 images: which variants, how often, when, and their mean as the target."
    more = replace(pairs, variants=read_variants(source.variants, pairs))
    best, base = get_recipe("best"), pool[:3000]
    plain = ranks_of(best, base)
    note("plain", 3000, plain)
    def tell(name, recipe, of, count=3000, against="plain", rival=plain, chosen=base):
        note(name, count, ranks_of(recipe, chosen, of), against, rival)
    for part in .25, .5, .75, 1.:
        tell(f"three variants, part {part:g}", best.but(variants=part), more)
    tell("mirrored only, part 0.5", best.but(variants=.5), replace(more, variants=more.variants[:1]))
    tell("one crop only, part 0.5", best.but(variants=.5), replace(more, variants=more.variants[1:2]))
    draw, train.drawn_variants = train.drawn_variants, first_epochs(7)
    tell("three variants, part 0.5, last 3 epochs plain", best.but(variants=.5), more)
    train.drawn_variants = draw
    mean = np.array(pairs.image)
    mean[base] = (pairs.image[base] + more.variants[:, base].astype(np.float32).sum(0))/4
    tell("mean of four as target", best, replace(pairs, image=mean, crc=None))
    tell("mean of four, and three variants, part 0.5", best.but(variants=.5), replace(more, image=mean, crc=None))
    whole = ranks_of(best, pool)
    note("plain, all", len(pool), whole)
    tell("three variants, part 0.5, all", best.but(variants=.5), more, len(pool), "plain, all", whole, pool)


def views():
    "Views of the text beside the latents, on all images."
    best = get_recipe("best")
    seen = add_views(pairs, dict(text.split("=", 1) for text in sys.argv[3:]), "train")
    alone = ranks_of(best, pool)
    note("latents", len(pool), alone)
    words = get_recipe("best_words")
    of_words = ranks_of(words, pool)
    note("latents, words", len(pool), of_words, "latents", alone)
    for name in seen.views:
        two, three = {"latents": {}, name: {}}, words.views | {name: {}}
        dropped = words.views | {"latents": {"drop": .2}, name: {"drop": .2}}
        note(f"latents, {name}", len(pool), ranks_of(best.but(views=two), pool, seen), "latents", alone)
        for which, given in ("", three), (", latents and it left out in 0.2", dropped):
            note(f"latents, words, {name}{which}", len(pool), ranks_of(words.but(views=given), pool, seen),
                 "latents, words", of_words)


PARTS = {"curve": curve, "extra": extra, "variants": variants, "views": views}
if sys.argv[2:3] == [] or sys.argv[2] not in PARTS:
    sys.exit(__doc__)
PARTS[sys.argv[2]]()
known = pd.read_csv(TABLE) if TABLE.is_file() else pd.DataFrame({"part": []})
with atomic(TABLE) as temporary:
    pd.concat([known[known["part"] != sys.argv[2]], pd.DataFrame(rows)]).to_csv(temporary, index=False,
                                                                                float_format="%.5f")
