"""An epoch of A-rmlpa and A-stitcher, with data, loss and optimiser, against the time of its matrix products alone.

The ceiling beside it is the same ratio for a step that does nothing besides its products but gather the batch, update
the weights, and go once over what must be gone over once: random bits of dropout, activations and their gradients,
the output's norm and its projection, the softmax's exponentials, the biases' sums.

    .venv/bin/python bench/epoch.py [flickr8k] [--keep]   # flickr8k: its dims; --keep: freed memory is kept
"""
import statistics, sys, time

import torch
from torch import nn

from latentkit.data import Pairs
from latentkit.device import keep_freed_memory
from latentkit.recipes import get_recipe
from latentkit.train import Batches, TrainingState, progress_bar, train_epochs

DX, DY, N, TRIALS = (384, 1280, 8_192, 8) if "flickr8k" in sys.argv else (1024, 1536, 8_192, 8)
if "--keep" in sys.argv:
    keep_freed_memory()
torch.manual_seed(0)


def products(model, batch):
    "Factors and output of each product of a step: x W', g' x and, but for the input, g W; of the loss p t', g t."
    result = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            x, w = torch.randn(batch, layer.in_features), torch.randn(layer.out_features, layer.in_features)
            g = torch.randn(batch, layer.out_features)
            result += [(x, w.T), (g.T, x)] + ([] if name in ("shortcut", "deep.0", "map") else [(g, w)])
    p, g = torch.randn(batch, DY), torch.randn(batch, batch)
    return [(a, b, torch.empty(len(a), b.shape[1])) for a, b in [*result, (p, p.T), (g, p)]]


def passes(model, batch):
    "One elementwise pass for each thing that a step cannot do without, as calls."
    hidden = [layer.out_features for layer in model.deep if isinstance(layer, nn.Linear)][:-1]
    gelu, calls = isinstance(model.deep[1], nn.GELU), []
    for width in hidden:
        bits = torch.empty(batch*width//4, dtype=torch.int64)
        x, g = torch.randn(batch, width), torch.randn(batch, width)
        forward = nn.functional.gelu if gelu else torch.relu
        calls += [lambda bits=bits: bits.random_(-2**63, None), lambda x=x, forward=forward: forward(x)]
        calls += [lambda x=x, g=g: torch.ops.aten.gelu_backward(g, x) if gelu
                  else torch.ops.aten.threshold_backward(g, x, 0), lambda g=g: g.sum(0)]
    out, grad, logits = torch.randn(batch, DY), torch.randn(batch, DY), torch.randn(batch, batch)
    return calls + [lambda: torch.linalg.vector_norm(out, dim=1), lambda: grad.sum(0), lambda: logits.exp(),
                    lambda: out.addcmul_(grad, grad[:, :1], value=1e-9)]


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare(operands, steps):
    "The products of an epoch."
    for _ in range(steps):
        for a, b, out in operands:
            torch.mm(a, b, out=out)


def least(operands, rest, state, batches):
    "The products, and what cannot be left out beside them."
    for _ in batches.of(1):
        bare(operands, 1)
        for call in rest:
            call()
        state.optimiser.step()


text, image, image_of = torch.randn(N, DX).numpy(), torch.randn(N//5+1, DY).numpy(), (torch.arange(N)//5).numpy()
pairs = Pairs(text, image, image_of, image_of, image_of, image_of)

def measure(name):
    "Print what an epoch of a recipe takes, against its products."
    recipe = get_recipe(name)
    batches = Batches(recipe, pairs, slice(None), torch.device("cpu"))
    state = TrainingState(recipe, batches)
    epochs = train_epochs(recipe, state, batches, [], progress_bar("", 0))
    operands, rest = products(state.model, recipe.batch_size), passes(state.model, recipe.batch_size)
    ratios, ceilings = [], []
    for trial in range(TRIALS):
        whole, alone = timed(lambda: next(epochs)), timed(lambda: bare(operands, batches.steps))
        bound = timed(lambda: least(operands, rest, state, batches))
        if trial:
            ratios.append(alone/whole)
            ceilings.append(alone/bound)
    print(f"{name}, {N:,} captions {DX} -> {DY}: epoch {whole:.2f} s, its matrix products {alone:.2f} s; "
          f"rate of the epoch / rate of the products: median {statistics.median(ratios):.2f}, "
          f"of {min(ratios):.2f} to {max(ratios):.2f}; ceiling {statistics.median(ceilings):.2f}")


for name in "A-rmlpa", "A-stitcher":
    measure(name)
