"Full-gallery ranks of 6 250 queries among 25 000 images, against this machine's own float32 matrix product of the same size."
import resource, statistics, time

import torch

from latentkit.retrieval import BLOCK, full_ranks

Q, G, D = 6_250, 25_000, 1_536
torch.manual_seed(0)
query, gallery, target = torch.randn(Q, D), torch.randn(G, D), torch.randint(0, G, (Q,))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024
out, ratios = torch.empty(2048, G), []
for trial in range(6):
    began = time.perf_counter(); full_ranks(query, gallery, target); ours = time.perf_counter() - began
    if trial == 0: peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024 - before
    began = time.perf_counter()
    for start in range(0, Q, 2048): torch.mm(query[start:start+2048], gallery.T, out=out[:len(query[start:start+2048])])
    bare = time.perf_counter() - began
    if trial: ratios.append(bare/ours)
print(f"ranks {ours:.2f} s, bare product {bare:.2f} s ({2*Q*G*D/bare/1e9:.0f} GFLOP/s)")
print(f"rate of the ranks / rate of the product: median {statistics.median(ratios):.2f}, of {min(ratios):.2f} to {max(ratios):.2f}")
print(f"memory above the inputs: {peak:.0f} MB (normalised copies {4*D*(Q+G)/2**20:.0f}, block {BLOCK/2**20:.0f}); all similarities at once would be {4*Q*G/2**20:.0f}")
