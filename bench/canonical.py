"The canonical query at the competition's full size, 125 000 x 1024 captions and 25 000 x 1536 images, cross-validation included, against reading the covariances once."
import time

import torch

from latentkit.models import make_model, moments
from latentkit.retrieval import unit

CAPTIONS, IMAGES, DX, DY = 125_000, 25_000, 1_024, 1_536
generator = torch.Generator().manual_seed(0)
image_of = torch.arange(CAPTIONS) % IMAGES
cause = torch.randn(IMAGES, 64, generator=generator)
image = cause @ torch.randn(64, DY, generator=generator) + 3*torch.randn(IMAGES, DY, generator=generator)
text = cause[image_of] @ torch.randn(64, DX, generator=generator) + 3*torch.randn(CAPTIONS, DX, generator=generator)

model = make_model("canonical", DX, DY)
began = time.perf_counter(); moments(unit(text, "text"), image, image_of); once = time.perf_counter() - began
began = time.perf_counter(); model.start(text, image, image_of); whole = time.perf_counter() - began
print(f"canonical: {whole:.1f} s, ridges and power {model.chosen.tolist()}; the covariances alone {once:.1f} s; ratio {whole/once:.1f}")
