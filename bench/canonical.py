"The canonical query at full size, 125 000 x 1024 captions and 25 000 x 1536 images, against its covariances alone."
import time

import torch

from latentkit.models import make_model, moments
from latentkit.retrieval import unit

CAPTIONS, IMAGES, DX, DY = 125_000, 25_000, 1_024, 1_536
generator = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=generator)


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


image_of = torch.arange(CAPTIONS) % IMAGES
cause = normal(IMAGES, 64)
image = cause @ normal(64, DY) + 3*normal(IMAGES, DY)
text = cause[image_of] @ normal(64, DX) + 3*normal(CAPTIONS, DX)

model = make_model("canonical", DX, DY)
once = timed(lambda: moments(unit(text, "text"), image, image_of))
whole = timed(lambda: model.start(text, image, image_of))
print(f"canonical: {whole:.1f} s, ridges and power {model.chosen.tolist()}; "
      f"the covariances alone {once:.1f} s; ratio {whole/once:.1f}")
