"""An epoch of A-rmlpa and A-stitcher, whole steps with data, loss and optimiser, against the time of its matrix products alone.

The ceiling beside it is what the same ratio would be if a step did nothing besides its products but gather the batch, update the weights and go once over what must be
gone over once: random bits of dropout, activations and their gradients, the output's norm and its projection, the softmax's exponentials, the biases' sums. A step that
PyTorch runs kernel by kernel cannot pass it."""
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

def passes(model, batch):
    "One elementwise pass for each thing that a step cannot do without, as calls."
    bits, hidden = [torch.empty(batch*layer.out_features//4, dtype=torch.int64) for name, layer in model.deep.named_children() if isinstance(layer, nn.Linear)][:-1], []
    for layer in [layer for layer in model.deep if isinstance(layer, nn.Linear)][:-1]: hidden.append((torch.randn(batch, layer.out_features), torch.randn(batch, layer.out_features)))
    out, grad, logits = torch.randn(batch, DY), torch.randn(batch, DY), torch.randn(batch, batch)
    gelu = isinstance(model.deep[1], nn.GELU)
    calls = [lambda b=b: b.random_(-2**63, None) for b in bits]
    for x, g in hidden: calls += [lambda x=x: nn.functional.gelu(x) if gelu else x.relu(), lambda x=x, g=g: torch.ops.aten.gelu_backward(g, x) if gelu else torch.ops.aten.threshold_backward(g, x, 0), lambda g=g: g.sum(0)]
    return calls + [lambda: torch.linalg.vector_norm(out, dim=1), lambda: out.addcmul_(grad, grad[:, :1], value=1e-9), lambda: grad.sum(0), lambda: logits.exp()]

for name in "A-rmlpa", "A-stitcher":
    recipe = get_recipe(name)
    model, loss = make_model(recipe.model, DX, DY, **recipe.model_options), make_loss(recipe.loss, **recipe.loss_options)
    model.train()
    batches = epoch_batches(recipe, image_of, 1)
    trainer = Trainer(recipe, model, loss, len(batches)*200, len(batches), torch.device("cpu"))
    operands = products(model, recipe.batch_size)
    rest = passes(model, recipe.batch_size)
    ratios, ceilings = [], []
    for trial in range(8):
        began = time.perf_counter()
        for rows in batches: trainer.step(text.index_select(0, rows), image.index_select(0, image_of[rows]), image_of[rows])
        whole = time.perf_counter() - began
        began = time.perf_counter()
        for _ in batches:
            for a, b, out in operands: torch.mm(a, b, out=out)
        bare = time.perf_counter() - began
        began = time.perf_counter()
        for rows in batches:
            text.index_select(0, rows), image.index_select(0, image_of[rows])
            for a, b, out in operands: torch.mm(a, b, out=out)
            for call in rest: call()
            trainer.optimiser.step()
        least = time.perf_counter() - began
        if trial: ratios.append(bare/whole), ceilings.append(bare/least)
    print(f"{name}, {N:,} captions {DX} -> {DY}: epoch {whole:.2f} s, its matrix products {bare:.2f} s; rate of the epoch / rate of the products: median {statistics.median(ratios):.2f}, of {min(ratios):.2f} to {max(ratios):.2f}; ceiling {statistics.median(ceilings):.2f}")
