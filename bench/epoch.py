"An epoch of A-rmlpa and A-stitcher, whole steps with data, loss and optimiser, against the time of its matrix products alone."
import statistics, sys, time

import torch
from torch import nn

from latentkit.losses import make_loss
from latentkit.models import make_model
from latentkit.train import Trainer, epoch_batches, get_recipe, keep_freed_memory

DX, DY, N = (384, 1280, 8_192) if "flickr8k" in sys.argv else (1024, 1536, 8_192)
torch.manual_seed(0)
keep_freed_memory()
text, image, image_of = torch.randn(N, DX), torch.randn(N//5+1, DY), torch.arange(N)//5

def products(model, batch):
    "The factors and the output of every matrix product of a step, as training has them: of each linear layer x W', g' x and, but where x is the input, g W; of the loss p t' and g t."
    result, new = [], torch.randn
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            x, w, g = new(batch, layer.in_features), new(layer.out_features, layer.in_features), new(batch, layer.out_features)
            result += [(x, w.T), (g.T, x)] + ([] if name in ("shortcut", "deep.0", "map") else [(g, w)])
    p, g = new(batch, DY), new(batch, batch)
    return [(a, b, torch.empty(len(a), b.shape[1])) for a, b in [*result, (p, p.T), (g, p)]]

for name in "A-rmlpa", "A-stitcher":
    recipe = get_recipe(name)
    model, loss = make_model(recipe.model, DX, DY, **recipe.model_options), make_loss(recipe.loss, **recipe.loss_options)
    model.train()
    batches = epoch_batches(recipe, image_of, 1)
    trainer = Trainer(recipe, model, loss, len(batches)*200, len(batches), torch.device("cpu"))
    operands = products(model, recipe.batch_size)
    ratios = []
    for trial in range(8):
        began = time.perf_counter()
        for rows in batches: trainer.step(text.index_select(0, rows), image.index_select(0, image_of[rows]), image_of[rows])
        whole = time.perf_counter() - began
        began = time.perf_counter()
        for _ in batches:
            for a, b, out in operands: torch.mm(a, b, out=out)
        bare = time.perf_counter() - began
        if trial: ratios.append(bare/whole)
    print(f"{name}, {N:,} captions {DX} -> {DY}: epoch {whole:.2f} s, its matrix products {bare:.2f} s; rate of the epoch / rate of the products: median {statistics.median(ratios):.2f}, of {min(ratios):.2f} to {max(ratios):.2f}")
