"""What words that learn are worth to `best_words` beside frozen ones, on Flickr8k, by the images of bench/best.py.

    .venv/bin/python bench/words.py ../shared/flickr8k             # variants, three seeds, paired by image
    .venv/bin/python bench/words.py ../shared/flickr8k tuned gru   # only some of them
"""
import sys
from dataclasses import replace

import numpy as np
import torch
from aside import SEEDS, images, pairs, split, target
from torch import nn
from torch.nn import functional as F

from latentkit.networks import CanonicalMLP, add_map, hidden_layers, thinned, zero
from latentkit.recipes import get_recipe
from latentkit.retrieval import better_than, full_ranks
from latentkit.train import fit
from latentkit.views import fit_views, with_views
from latentkit.words import vectoriser

BOTH = {"latents": {}, "words": {}}
views = fit_views(BOTH, pairs, split.train)
text, WORDS = with_views(pairs, views).text[:], views.words
numbered = replace(pairs, text=np.c_[text, np.arange(len(text))].astype(np.float32), crc=None) # a caption's row is last


def padded(rows):
    "Rows of numbers, as long as the longest, filled up with 0."
    return nn.utils.rnn.pad_sequence([torch.as_tensor(row) for row in rows], batch_first=True)


def terms_of(captions):
    "The numbers (N, L) of each caption's terms, from 1, and their TF-IDF (N, L)."
    counted = WORDS.counted(captions)
    terms, weights = (np.split(part, counted.indptr[1:-1]) for part in (counted.indices + 1, counted.data))
    return padded(terms).long(), padded(weights).float()


def tokens_of(captions):
    "The numbers (N, T) of each caption's single words in their order, from 1; 0 for an unknown one."
    number, split_up = {term: 1 + i for i, term in enumerate(WORDS.terms)}, vectoriser().build_tokenizer()
    return padded([[number.get(word, 0) for word in split_up(caption.lower())] or [0] for caption in captions])


captions = list(map(str, pairs.captions))
TERMS, WEIGHTS = terms_of(captions)
TOKENS = tokens_of(captions)


class Numbered(CanonicalMLP):
    "The model of `best_words`, with a learned vector for each term; a text's last column is the caption's row."
    def __init__(self, dx, dy, width, dropped, pace, **options):
        super().__init__(dx - 1, dy, **options)
        self.dropped, self.slow, self.bag = dropped, pace, nn.EmbeddingBag(len(WORDS.terms) + 1, width, mode="sum")
        nn.init.zeros_(self.bag.weight)

    def start(self, text, image, image_of):
        super().start(text[:, :-1], image, image_of)

    def pace(self):
        return {"bag.weight": self.slow}

    def said(self, x):
        "The sum of the vectors of each caption's terms, without those that are dropped."
        rows = x[:, -1].long()
        return self.bag(TERMS[rows], per_sample_weights=F.dropout(WEIGHTS[rows], self.dropped, self.training))


class Added(Numbered, name="added"):
    "The vectors are added to the query."
    def __init__(self, dx, dy, dropped=.5, pace=.05, **options):
        super().__init__(dx, dy, dy, dropped, pace, **options)

    def unnormalised(self, x):
        return super().unnormalised(x[:, :-1]) + self.said(x)


class Beside(Numbered, name="beside"):
    "The vectors are more inputs of the hidden layer."
    def __init__(self, dx, dy, width=64, dropped=.5, pace=.1, **options):
        super().__init__(dx, dy, width, dropped, pace, **options)
        hidden = self.deep[0].out_features
        self.deep = hidden_layers(dx - 1 + width, dy, hidden, 1, self.deep[1].p)

    def unnormalised(self, x):
        known = self.input_dropout(F.normalize(x[:, :-1]) - self.mean)
        said = self.said(x).to(known.dtype)
        return add_map(thinned(self.deep, torch.cat([known, said], 1)), known, self.affine)


class GRU(Beside, name="gru"):
    "As `Beside`, by a text encoder that reads the words in their order."
    def __init__(self, dx, dy, width=256, dropped=.2, pace=1., **options):
        super().__init__(dx, dy, width, dropped, pace, **options)
        self.bag = nn.Embedding(len(WORDS.terms) + 1, 128)
        self.read = nn.GRU(128, width//2, batch_first=True, bidirectional=True)
        self.map = zero(nn.Linear(width, width))

    def said(self, x):
        tokens = TOKENS[x[:, -1].long()]
        if self.training:
            tokens = tokens*(torch.rand(tokens.shape) >= self.dropped)
        known = (tokens > 0)[..., None]
        with torch.autocast("cpu", enabled=False):
            read = self.read(self.bag(tokens))[0]*known
            return self.map(read.sum(1)/known.sum(1).clamp(min=1))


def judge(recipe, of):
    "Seconds of the slowest seed, and the ranks of all seeds in a row."
    trained = [fit(recipe.but(seed=seed, refit=False), of, split, progress=False) for seed in SEEDS]
    ranks = [full_ranks(checkpoint.predict(of, split.val), pairs.image[images], target) for checkpoint in trained]
    return max(checkpoint.seconds[-1] for checkpoint in trained), np.concatenate(ranks)


def learned(name, **options):
    "`best_words` with a model that learns words."
    base = get_recipe("best_words")
    return base.but(name=name, model=name, views={"latents": {}}, model_options=base.model_options | options), numbered


def tuned(**options):
    "`best_words` as it is, whose words go on learning, with other options."
    base = get_recipe("best_words")
    return base.but(views={"latents": {}, "words": base.views["words"] | options}), pairs


VARIANTS = {
    "tuned": tuned(), "tuned at full pace": tuned(pace=.999), "tuned, no terms dropped": tuned(terms=0.),
    "20 epochs": (get_recipe("best_words").but(views=BOTH, epochs=20), pairs),
    "added": learned("added"), "beside": learned("beside"), "gru": learned("gru"),
}
seconds, base = judge(get_recipe("best_words").but(views=BOTH), pairs)
print("| variant | MRR | difference, 95 % | seconds |\n|---|---|---|---|")
print(f"| best_words, frozen | {(1/base).mean():.4f} | | {seconds:.0f} |", flush=True)
for name in sys.argv[2:] or VARIANTS:
    seconds, ranks = judge(*VARIANTS[name])
    row = better_than(ranks, base, np.tile(target, len(SEEDS)))
    difference = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
    print(f"| {name} | {(1/ranks).mean():.4f} | {difference} | {seconds:.0f} |", flush=True)
