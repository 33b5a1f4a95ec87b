"What processes of the tests have imported before they are forked: it takes seconds, and each would do it again."
import latentkit.report  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import nbdev.test  # noqa: F401
import torch

torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]) # the first optimiser imports much of torch
