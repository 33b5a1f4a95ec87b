"Full-gallery ranks of 6 250 queries among 25 000 images, against the bare float32 matrix product of the same size."
import resource, statistics, time

import torch

from latentkit.retrieval import BLOCK, full_ranks

Q, G, D, ROWS = 6_250, 25_000, 1_536, 2_048
torch.manual_seed(0)
query, gallery, target = torch.randn(Q, D), torch.randn(G, D), torch.randint(0, G, (Q,))
out, ratios = torch.empty(ROWS, G), []


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def product():
    for part in query.split(ROWS):
        torch.mm(part, gallery.T, out=out[:len(part)])


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


before = peak()
full_ranks(query, gallery, target)
memory = peak() - before
for _ in range(5):
    ours, bare = timed(lambda: full_ranks(query, gallery, target)), timed(product)
    ratios.append(bare/ours)
print(f"ranks {ours:.2f} s, bare product {bare:.2f} s ({2*Q*G*D/bare/1e9:.0f} GFLOP/s)")
print(f"rate of the ranks / rate of the product: median {statistics.median(ratios):.2f}, "
      f"of {min(ratios):.2f} to {max(ratios):.2f}")
print(f"memory above the inputs: {memory:.0f} MB (normalised copies {4*D*(Q+G)/2**20:.0f}, block {BLOCK/2**20:.0f}); "
      f"all similarities at once would be {4*Q*G/2**20:.0f}")
