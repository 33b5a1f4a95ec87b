"Galleries larger than memory: exact ranks in blocks and over processes; an index that is whole, or built again."
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import team
import torch
from test_team import together

from latentkit import gallery
from latentkit.data import Pairs
from latentkit.files import InputError
from latentkit.gallery import Gallery, cosine, faiss_module, gallery_ranks
from latentkit.retrieval import full_ranks
from latentkit.shards import Shards, latents_of, read_shards, write_shards
from latentkit.team import Team

needs_faiss = pytest.mark.skipif(faiss_module() is None, reason="FAISS is not installed (extra scale)")


def made(images: int = 2000, dims: int = 48, queries: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Clustered latents of which a quarter stand twice, predictions, and each one's own image."
    rng = np.random.default_rng(0)
    centres, noise = rng.standard_normal((20, dims), "f4"), rng.standard_normal((images, dims), "f4")
    latents = centres[rng.integers(20, size=images)] + noise
    latents[-images//4:] = latents[:images//4]
    target = rng.integers(images, size=queries)
    return latents, latents[target] + 2*rng.standard_normal((queries, dims), "f4"), target


def in_files(latents: np.ndarray, folder, cuts: list[int], dtype: str = "f4") -> Shards:
    "The same rows in files."
    for number, part in enumerate(np.split(latents, cuts)):
        np.save(folder/f"image_{number}.npy", part.astype(dtype))
    return latents_of(sorted(folder.glob("image_*.npy")))


def true_ranks(query: np.ndarray, latents: np.ndarray, target: np.ndarray) -> np.ndarray:
    "One cosine at a time, in float64."
    ranks, latents = [], torch.tensor(latents)
    for prediction, own in zip(torch.tensor(query), target):
        found = cosine(prediction.expand(len(latents), -1), latents)
        equal = (found - found[own]).abs() < 1e-12
        ranks.append(float(((found > found[own]) & ~equal).sum() + (1 + equal.sum())/2))
    return np.array(ranks)


@pytest.mark.parametrize("block", [1, 7, 999, 8192])
def test_ranks_are_exact_for_every_block(tmp_path, monkeypatch, block):
    latents, query, target = made(400, 48, 60) if block == 1 else made()
    monkeypatch.setattr(gallery, "BLOCK", block)
    ranks = gallery_ranks(query, in_files(latents, tmp_path, [len(latents)//3]), target)
    assert (ranks == true_ranks(query, latents, target)).all() and (ranks % 1 == .5).sum() > 10
    assert (ranks == full_ranks(query, latents, target)).all()
    assert (gallery_ranks(torch.tensor(query), latents, torch.tensor(target)) == ranks).all()


def test_ranks_of_copies_and_of_nothing():
    "A gallery of one image that stands many times, at any length; a prediction of zeros."
    latents, query, target = made()
    ranks = gallery_ranks(query, latents[:1]*2.**np.resize(np.arange(-3, 4, dtype="f4"), (2000, 1)), target)
    assert (ranks == 1000.5).all()
    assert (gallery_ranks(0*query, latents, target) == 1000.5).all()


def test_near_misses_are_no_ties():
    "Images that float32 products cannot tell apart are ranked as float64 tells them."
    latents, query, target = made(300, 32, 40)
    latents[150:] = latents[:150]*(1 + 1e-6*np.random.default_rng(1).standard_normal((150, 32))).astype("f4")
    ranks = gallery_ranks(query, latents, target)
    assert (ranks == true_ranks(query, latents, target)).all() and (ranks % 1 == 0).all()


def test_two_processes_count_what_one_does(tmp_path, monkeypatch):
    "Ranks, and the sums of moments."
    assert together(tmp_path, 2, "ranks") == [0, 0]
    monkeypatch.setattr(gallery, "BLOCK", 77)
    found, alone = json.loads((tmp_path/"ranks-2.json").read_text()), team.ranks()
    assert found["ranks"] == alone["ranks"]
    assert len(alone["moments"]) > 1000 and np.allclose(found["moments"], alone["moments"], rtol=1e-11, atol=1e-11)


def test_a_team_deals_every_row_once():
    latents = np.arange(50_000, dtype="f4")[:, None]
    parts = [torch.cat([rows for _, rows in gallery.row_blocks(latents, Team(rank, 3))]) for rank in range(3)]
    assert torch.equal(torch.cat(parts).sort(0).values, torch.tensor(latents))


def test_damaged_rows_are_named(tmp_path):
    latents, query, target = made()
    latents[1234] = np.nan
    with pytest.raises(InputError, match="image_1.npy, row 234"):
        gallery_ranks(query[target != 1234], in_files(latents, tmp_path, [1000]), target[target != 1234])


def test_exact_search(tmp_path, monkeypatch):
    "In memory and in blocks, with and without FAISS: the nearest of all, best first."
    latents, query, _ = made()
    similarity = np.array([cosine(torch.tensor(q).expand(2000, -1), torch.tensor(latents)).numpy() for q in query])
    best = -np.sort(-similarity, 1)[:, :5]
    files = in_files(latents, tmp_path, [700])
    monkeypatch.setattr(gallery, "faiss_module", lambda: None)
    whole = Gallery(files, kind="IVF-PQ")
    monkeypatch.setitem(gallery.KINDS, "flat", 0)
    monkeypatch.setattr(gallery, "BLOCK", 300)
    parts = Gallery(files)
    assert whole.kind == parts.kind == "flat" and whole.held is not None and parts.held is None
    for one in whole, parts:
        cosines, rows = one.search(query, 5)
        assert np.allclose(cosines, best, atol=1e-6)
        assert np.allclose(np.take_along_axis(similarity, rows, 1), best, atol=1e-6)
    assert whole.search(query[:1], 9000)[1].shape == (1, 2000)


@needs_faiss
@pytest.mark.parametrize("kind", ["HNSW", "IVF-PQ"])
def test_an_index_finds_nearly_all_and_is_kept_beside_shards(tmp_path, monkeypatch, capsys, kind):
    latents, query, _ = made(3000, 24)
    files = in_files(latents, tmp_path, [700, 2000], "f2")
    first = Gallery(files, query, kind)
    cosines, rows = first.search(query, 10)
    true, found = Gallery(files).search(query, 10)[0], files[:]
    assert first.recall > .9 and np.isclose(cosines, true, atol=1e-6).mean() > .9
    own = cosine(torch.tensor(query[:1]).expand(10, -1), torch.tensor(found[rows[0]]))
    assert np.allclose(cosines[0], own, atol=1e-6)
    assert (np.diff(cosines, axis=1) <= 0).all() and f"recall@10 {first.recall:.3f}" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(gallery, "built", None) # it is read
        again = Gallery(files, query, kind)
    assert again.recall == first.recall and (again.search(query)[1] == rows).all()


@needs_faiss
def test_an_index_that_does_not_fit_is_built_again_and_never_opened(tmp_path, monkeypatch, capsys):
    import faiss
    latents, query, _ = made(1000, 24)
    def opened(rows=latents) -> str:
        "What is said while the gallery is opened; FAISS must open nothing."
        with monkeypatch.context() as patch:
            patch.setattr(faiss, "read_index", None)
            Gallery(in_files(rows, tmp_path, [500]), query, "HNSW", progress=False)
        return capsys.readouterr().out
    path = tmp_path/"gallery.HNSW"
    assert opened() == ""
    whole, facts = path.read_bytes(), path.with_name("gallery.HNSW.json")
    for damaged in whole[:-1], whole[:100] + b"!" + whole[101:], b"":
        path.write_bytes(damaged)
        assert "built again (its checksum" in opened()
    for damaged in "", "[]", "{}", "[" * 100_000:
        facts.write_text(damaged)
        assert "built again" in opened()
    path.unlink()
    assert "built again ([Errno 2]" in opened()
    assert "built again (it is of other latents)" in opened(latents + 1)
    facts.unlink()
    assert opened() == "" and facts.is_file() and not list(tmp_path.glob(".writing*"))


@needs_faiss
def test_an_index_that_cannot_be_kept_is_used(tmp_path, monkeypatch, capsys):
    latents, query, _ = made(1000, 24)
    monkeypatch.setattr(gallery, "place_of", lambda *_: tmp_path/"file"/"gallery.HNSW")
    (tmp_path/"file").touch()
    one = Gallery(latents, query, "HNSW", progress=False)
    assert "used, but not kept" in capsys.readouterr().out and one.search(latents[:1])[1][0, 0] in (0, 750)


@needs_faiss
def test_an_array_is_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTKIT_CACHE", str(tmp_path))
    latents, query, _ = made(1000, 24)
    Gallery(latents, query, "HNSW", progress=False)
    assert len(list((tmp_path/"galleries").iterdir())) == 2


@needs_faiss
def test_faiss_and_torch_live_together(tmp_path):
    "Both work by turns and at once, in either order, with the threads that torch was given."
    code = """
import {first}, threading
import faiss, torch, numpy as np
torch.set_num_threads(2)
from latentkit.gallery import Gallery, faiss_module
latents = np.random.default_rng(0).standard_normal((1000, 32), "f4")
threads, one = [], Gallery(latents, kind="HNSW", progress=False)
def work():
    threads.append(faiss_module().omp_get_max_threads())
    for _ in range(20):
        (torch.randn(300, 300) @ torch.randn(300, 300)).sum()
        assert (one.search(latents[:8], 3)[1][:, 0] == np.arange(8)).all()
both = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in both]
[thread.join() for thread in both]
print(threads, torch.get_num_threads())
"""
    for first in "faiss", "torch":
        there = {**os.environ, "LATENTKIT_CACHE": str(tmp_path)}
        words = [sys.executable, "-c", code.format(first=first)]
        done = subprocess.run(words, capture_output=True, text=True, env=there)
        assert done.stdout.strip() == "[2, 2] 2", done.stderr


def test_pairs_in_shards_are_ranked(tmp_path):
    pytest.importorskip("pyarrow")
    latents, query, target = made()
    names = np.array([f"{n}.jpg" for n in range(2000)])
    pairs = Pairs(latents, latents, np.arange(2000), np.arange(2000), names, names)
    write_shards(pairs, tmp_path/"shards", 700, "float32")
    ranks = gallery_ranks(query, read_shards(tmp_path/"shards").image, target)
    assert (ranks == full_ranks(query, latents, target)).all()
