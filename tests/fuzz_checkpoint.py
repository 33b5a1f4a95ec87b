"Checkpoints and recipes under fuzz: a file is believed whole, or refused."
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import Bytes, Structure
from hypothesis import strategies as st

from latentkit.checkpoint import Checkpoint, why_unsealed, write_sealed
from latentkit.files import InputError
from latentkit.models import make_model
from latentkit.recipes import Recipe, get_recipe
from latentkit.sample import toy
from latentkit.train import Unfinished
from latentkit.views import Views, plain_views
from latentkit.words import WEIGHT, words_of

PAIRS = toy(images=12)
TEXTS = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("dog", "cat", "ball", "hat")]
ABSURD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**31, 2**63, 10**400, -2**70]), st.floats(),
    st.text(max_size=5), st.sampled_from(["../../x", "/etc/passwd", "a\0b", "\ud800", "mlp", "canonical_mlp"]),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from([torch.zeros(0), torch.full((2, 2), float("nan")), torch.zeros(1).expand(10**6, 10**6),
                     torch.empty(3, 3, device="meta"), torch.zeros(3, 4).to_sparse()]))
KEYS = ["recipe", "dims", "state", "fingerprint", "metrics", "history", "views", "final", "version", "made_with"]
FIELDS = [*asdict(get_recipe("best"))]


def checkpoint(name: str = "linear", options: dict | None = None, words: bool = False) -> Checkpoint:
    "A small one, as `fit` makes them."
    torch.manual_seed(0)
    found = Views({"latents": 1.} | ({"words": WEIGHT} if words else {}), words_of(TEXTS) if words else None, {})
    model = make_model(name, found.width(PAIRS.dims[0]), PAIRS.dims[1], **(options or {}))
    history = [{"epoch": 0, "loss": None, "lr": None, "mrr": .5}, {"epoch": 1, "loss": 1., "lr": .1, "mrr": .6}]
    metrics = {"best_epoch": 1, "protocol": "1+99", "val_mrr": .6, "train_mrr": .7, "gap": .1}
    final = {"state": model.state_dict(), "views": found} if words else None
    recipe = Recipe("small", name, model_options=options or {}, epochs=1)
    return Checkpoint(recipe, PAIRS.dims, model.state_dict(), "f", metrics, history, None, found, final)


def make(folder: Path) -> Path:
    checkpoint(words=True).save(path := folder/"small.pth")
    return path


def make_old(folder: Path) -> Path:
    "As version 0.3 wrote it: without a seal and `made_with`, with words and a track instead of views."
    path, facts = folder/"old.pth", facts_of(checkpoint(words=True))
    facts["words"] = facts.pop("views")["words"]
    facts["final"] = {"state": facts["final"]["state"], "words": facts["words"]}
    for key in "views", "extra", "variants", "teacher":
        del facts["recipe"][key]
    facts["recipe"]["track"] = "latents+words"
    torch.save({key: value for key, value in facts.items() if key != "made_with"}, path)
    return path


def old_files_load(folder: Path) -> None:
    "What version 0.3 wrote translates as before."
    old, new = Checkpoint.load(make_old(folder)), checkpoint(words=True)
    assert old.recipe.views == {"latents": {}, "words": {}}
    for final in False, True:
        assert (old.predict(PAIRS, final=final) == new.predict(PAIRS, final=final)).all()


def facts_of(made: Checkpoint) -> dict:
    "What its file holds."
    facts = {key: value for key, value in vars(made).items() if key != "seconds"}
    facts |= {"recipe": asdict(made.recipe), "dims": list(made.dims), "views": plain_views(made.views)}
    facts["final"] = made.final and made.final | {"views": plain_views(made.final["views"])}
    return facts


def read(path: Path) -> tuple:
    "All that counts in a checkpoint."
    found = Checkpoint.load(path)
    def bytes_of(state):
        return tuple((key, tensor.numpy().tobytes()) for key, tensor in state.items())
    of_words = found.views.words and vars(found.views.words).values()
    words = of_words and tuple(np.asarray(part).tobytes() for part in of_words)
    final = found.final and bytes_of(found.final["state"])
    plain = repr((found.recipe, found.dims, found.metrics, found.history, found.fingerprint, found.made_with))
    return plain, bytes_of(found.state), words, final


def check_loads(path: Path) -> None:
    "A file that loads translates; any other is refused with one clear error."
    try:
        found = Checkpoint.load(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    for final in False, True:
        assert found.predict(PAIRS, device="cpu", final=final).shape == (len(PAIRS.text), PAIRS.dims[1])
    assert 0 <= found.metrics.get("best_epoch", 0) < len(found.history)
    found.log()


def check_tampered(value: tuple, folder: Path) -> None:
    "One fact, or one part of a fact, is another, under a seal of its own."
    key, part, other = value
    facts = facts_of(checkpoint(words=True))
    if isinstance(facts[key], dict) and part:
        facts[key] = facts[key] | {part: other}
    elif isinstance(facts[key], list) and part:
        facts[key] = [*facts[key], other]
    else:
        facts[key] = other
    try:
        write_sealed(folder/"tampered.pth", facts)
    except (ValueError, RuntimeError, NotImplementedError, TypeError): # torch does not write such a thing
        return
    check_loads(folder/"tampered.pth")


def check_recipe(value: tuple, folder: Path) -> None:
    "A field with an absurd value is refused, or is one that a recipe may have."
    field, other = value
    try:
        recipe = get_recipe("best").but(**{field: other})
    except InputError as error:
        assert "recipe" in str(error)
        return
    assert Path(recipe.checkpoint).name == recipe.checkpoint and recipe.epochs >= 0 and recipe.lr >= 0


BYTES = {"checkpoint": Bytes(make, read, exact=True), "checkpoint of 0.3": Bytes(make_old, read, exact=True)}
PARTS = st.one_of(st.none(), st.sampled_from(FIELDS), st.sampled_from(["map.weight", "best_epoch", "terms", "state"]))
STRUCTURES = {"checkpoint, tampered": Structure(st.tuples(st.sampled_from(KEYS), PARTS, ABSURD), check_tampered),
              "recipe": Structure(st.tuples(st.sampled_from(FIELDS), ABSURD), check_recipe)}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit//8] ^= 1 << bit % 8
    return bytes(changed)


def flips_are_refused(folder: Path, count: int = 50) -> int:
    "Single bits of a checkpoint of 13 MB; how many of the flips were refused."
    checkpoint("mlp1", {"hidden": 200_000}).save(path := folder/"large.pth")
    data, refused = path.read_bytes(), 0
    assert len(data) > 11_000_000
    for bit in np.random.default_rng(0).integers(0, 8*len(data), count):
        path.write_bytes(flipped(data, int(bit)))
        with pytest.raises(InputError):
            Checkpoint.load(path)
        refused += 1
    return refused


def nan_weights_are_refused(folder: Path) -> None:
    facts = facts_of(checkpoint())
    facts["state"]["map.bias"][0] = float("nan")
    write_sealed(folder/"nan.pth", facts)
    with pytest.raises(InputError, match="state: found something else"):
        Checkpoint.load(folder/"nan.pth")


def absurd_sizes_take_no_memory(folder: Path) -> None:
    facts = facts_of(checkpoint("mlp1"))
    for options in {"hidden": 10**12}, {"hidden": -1}, {"hidden": 1 << 20}:
        facts["recipe"]["model_options"] = options
        write_sealed(folder/"large.pth", facts)
        with pytest.raises(InputError):
            Checkpoint.load(folder/"large.pth")


def every_flip_of_the_seal_is_refused(folder: Path) -> None:
    data = make(folder).read_bytes()
    assert all(why_unsealed(flipped(data, bit)) for bit in range(8*(len(data) - 120), 8*len(data)))


def a_log_of_another_training_is_not_believed(folder: Path) -> None:
    made = checkpoint()
    made.seconds = [1., 2.]
    made.save(path := folder/"small.pth")
    assert Checkpoint.load(path).seconds == [1., 2.]
    path.with_suffix(".csv").write_text("epoch,mrr,seconds\n0,0.5,1\n1,0.7,2\n")
    assert Checkpoint.load(path).seconds is None


def a_failed_save_leaves_both_files_as_they_were(folder: Path) -> None:
    checkpoint().save(path := folder/"small.pth")
    before = path.read_bytes(), path.with_suffix(".csv").read_bytes()
    broken = checkpoint("linear")
    broken.history[0]["mrr"] = .9
    broken.state = {"map.weight": (n for n in ())} # cannot be written
    with pytest.raises(Exception):
        broken.save(path)
    assert before == (path.read_bytes(), path.with_suffix(".csv").read_bytes()) and len(list(folder.iterdir())) == 2


def an_unfinished_training_of_something_else_is_not_taken_up(folder: Path) -> None:
    path, recipe = folder/"x.unfinished", get_recipe("best")
    Unfinished(path, recipe, "a").save(judged={}, refit={})
    assert Unfinished(path, recipe, "a").parts == {} == Unfinished(path, recipe, "b").parts


PAST = {function.__name__: function for function in (
    flips_are_refused, nan_weights_are_refused, absurd_sizes_take_no_memory, every_flip_of_the_seal_is_refused,
    old_files_load,
    a_log_of_another_training_is_not_believed, a_failed_save_leaves_both_files_as_they_were,
    an_unfinished_training_of_something_else_is_not_taken_up)}
