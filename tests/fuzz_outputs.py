"Fuzzing of what is written and chosen: submissions, predictions, lists, pictures, plans, options, latents."
import csv
import json
import math
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fuzzing import Bytes, Structure
from hypothesis import strategies as st
from PIL import Image

from latentkit.data import Queries, Split, write_npz
from latentkit.ensemble import check_submission, read_latents, write_submission
from latentkit.files import InputError
from latentkit.losses import LOSSES, make_loss
from latentkit.models import MODELS, make_model
from latentkit.networks import CanonicalMLP # noqa: F401, so that `make_model` knows the learned ones
from latentkit.search import apply, distribution, need_optuna, read_results, settle
from latentkit.seeds import INVENTORY, models_of, read_inventory, read_suspect
from latentkit.recipes import get_recipe
from latentkit.style import MOST_PIXELS, picture

with suppress(InputError):
    need_optuna() # takes longer than a case may

ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype("f4")
IDS = np.array([3, 1, 2])
QUERIES = Queries(np.zeros((3, 2), "f4"), IDS, np.array(["a", "b", "c"]), "test.clean.npz")
SPLITS = {"raw": Split(np.arange(6), np.arange(2), np.arange(2))}
FORMATS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}

def refused(call, *arguments, **options) -> None:
    "Assert that a call ends in an `InputError`."
    try:
        call(*arguments, **options)
    except InputError:
        return
    raise AssertionError(f"taken: {arguments} {options}")

# Bytes

def make_submission(folder: Path) -> Path:
    return write_submission(folder/"submission.csv", IDS, ROWS)

def read_submission(path: Path) -> dict:
    return check_submission(path, QUERIES, 4)

def make_predictions(folder: Path) -> Path:
    write_npz(folder/"val_ridge.npz", {"embeddings": ROWS, "groups": IDS}, compress=1)
    return folder/"val_ridge.npz"

def read_predictions(path: Path) -> tuple:
    latents, groups = read_latents(path, "groups")
    return latents.shape, latents.tobytes(), groups.tobytes()

MADE_BY = json.dumps({"data": "0123", "recipe": {"name": "A-rmlpa", "epochs": 3}}).encode()

def make_suspects(folder: Path) -> Path:
    write_npz(folder/"suspect.npz", {"suspect": IDS > 1, "made_by": np.frombuffer(MADE_BY, np.uint8)})
    return folder/"suspect.npz"

def read_suspects(path: Path) -> bytes:
    found = read_suspect(path, MADE_BY, 3)
    if found is None:
        raise InputError(path, "", "a damaged list", "suspects", "It is made anew.")
    return found.tobytes()

def make_inventory(folder: Path) -> Path:
    row = dict.fromkeys(INVENTORY, 1) | {"recipe": "ridge", "data": "raw", "config": "{}", "val MRR": .5}
    rows = [row | {"seed": k, "file": f"ridge-raw-{k}.pth"} for k in range(3)]
    pd.DataFrame(rows).to_csv(folder/"inventory.csv", index=False)
    return folder/"inventory.csv"

def read_list(path: Path) -> list:
    "The inventory, in a folder of its own, in which there are no checkpoints."
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        shutil.copyfile(path, Path(folder)/"inventory.csv")
        return read_inventory(Path(folder)).file.tolist()

SETTINGS = {"method": "random", "seed": 3, "choices": ["lr: [0.1]"], "fields": {}}

def make_settings(folder: Path) -> Path:
    settle(folder, SETTINGS)
    return folder/"search.json"

def read_settings(path: Path) -> bool:
    "The folder belongs to this search: nothing else may be believed."
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        shutil.copyfile(path, Path(folder)/"search.json")
        settle(Path(folder), SETTINGS)
    return True

def make_results(folder: Path) -> Path:
    rows = {"trial": [0, 1], "lr": [.1, .2], "state": ["complete"]*2, "mrr": [.3, .4], "protocol": ["full"]*2}
    pd.DataFrame(rows).to_csv(folder/"hpsearch_results.csv", index=False)
    return folder/"hpsearch_results.csv"

def read_table(path: Path) -> list:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        shutil.copyfile(path, Path(folder)/"hpsearch_results.csv")
        return read_results(Path(folder)).trial.tolist()

def picture_maker(kind: str):
    def make(folder: Path) -> Path:
        pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), np.uint8)
        path = folder/f"picture.{FORMATS[kind]}"
        Image.fromarray(pixels).save(path, kind)
        return path
    return make

def read_picture(path: Path) -> tuple:
    image = picture(path.parent, path.name)
    assert image.mode == "RGB" and 0 < image.width*image.height <= MOST_PIXELS
    return image.size

BYTES = {
    "submission.csv": Bytes(make_submission, read_submission, exact=False),
    "val_ridge.npz": Bytes(make_predictions, read_predictions, exact=True),
    "suspect.npz": Bytes(make_suspects, read_suspects, exact=True),
    "inventory.csv": Bytes(make_inventory, read_list, exact=False),
    "search.json": Bytes(make_settings, read_settings, exact=True),
    "hpsearch_results.csv": Bytes(make_results, read_table, exact=False),
    **{f"picture.{FORMATS[kind]}": Bytes(picture_maker(kind), read_picture, exact=False) for kind in FORMATS},
}

# Structures

NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(),
                    st.sampled_from([2**63, 2**70, -1, 0, 1, .5, math.nan, math.inf]))
HOSTILE = st.one_of(NUMBERS, st.none(), st.text(max_size=5), st.lists(NUMBERS, max_size=3), st.tuples(NUMBERS, NUMBERS),
                    st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2))
PIECES = st.sampled_from(["1", "3", "2", "0", "-0", "1e39", "1e-46", "true", "null", "NaN", "[", "]", '"', '""', ",",
                          ", ", " ", "\n", "\r\n", "\r", "2_0", "+1", "01", "\uff11", "\ufeff", "\0", "{}", ".5",
                          "id,embedding\n",
                          '3,"[1, 2, 3, 4]"\n', '1,"[1, 2, 3, 4]"\n', '2,"[1, 2, 3, 4]"\n', "#", "'", "1e", "9"*25])
LINES = st.lists(PIECES, max_size=12)

@st.composite
def submissions(draw) -> str:
    "A right submission with some pieces put in, or only pieces."
    right = ["id,embedding\n", *(f'{i},"[1, 2, 3, {i}]"\n' for i in IDS)]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(right)))
        right[place:place + draw(st.integers(0, 1))] = draw(st.lists(PIECES, max_size=2))
    text = "".join(right)
    cut = draw(st.integers(0, len(text)))
    return draw(st.sampled_from([text, text[:cut] + draw(PIECES) + text[cut:], "".join(draw(LINES))]))

def check_text(text: str, folder: Path) -> None:
    path = folder/"submission.csv"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        check_submission(path, QUERIES, 4)
    except InputError:
        return
    with open(path, newline="", encoding="utf-8") as file: # what it takes, others read as well
        head, *rows = csv.reader(file, strict=True)
    assert head == ["id", "embedding"] and [int(key) for key, _ in rows] == IDS.tolist()
    for _, latent in rows:
        numbers = json.loads(latent)
        assert len(numbers) == 4 and all(type(n) in (int, float) for n in numbers)
        assert 0 < np.linalg.norm(np.array(numbers, "f4")) < math.inf

PARTS = st.one_of(st.sampled_from(["..", ".", "/", "\\", "secret", "secret.png", "inside", "C:", "link", "fifo",
                                   "\0", "~", "inside.png", "/dev/zero", "/proc/self/environ", "pictures", "\ud800",
                                   "%2e%2e"]),
                  st.text(max_size=4))
NAMES = st.lists(PARTS, min_size=1, max_size=6).map("".join)

def check_name(name: str, folder: Path) -> None:
    inside = folder/"pictures"
    if not inside.exists():
        inside.mkdir()
        Image.new("RGB", (7, 5)).save(inside/"inside.png")
        Image.new("RGB", (11, 13)).save(folder/"secret.png")
        if hasattr(os, "mkfifo"):
            (inside/"link.png").symlink_to(folder/"secret.png")
            (inside/"loop.png").symlink_to(inside/"loop.png")
            os.mkfifo(inside/"fifo.png")
    assert picture(inside, name).size in ((96, 96), (7, 5))

SEEDS = st.one_of(st.lists(st.integers(-2, 5), max_size=3), HOSTILE)
PLAN = st.tuples(st.one_of(st.just("ridge"), HOSTILE), st.one_of(st.just("raw"), HOSTILE), SEEDS)
PLANS = st.lists(st.one_of(HOSTILE, PLAN), max_size=3)

def check_plan(plan: list, folder: Path) -> None:
    try:
        models = models_of(plan, SPLITS)
    except InputError:
        return
    seeds = [recipe.seed for recipe, _ in models]
    assert seeds and all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)

NAMED = ["hidden", "layers", "dropout", "temperature", "closed_form", "squeeze", "blocks", "margin", "weights",
         "warmup", "use", "options", "alpha", "ridge_x", "power", "folds", "count", "seed", "bank", "normalise",
         "symmetric", "hiden", ""]
SMALL = HOSTILE.filter(lambda value: not (isinstance(value, int) and 5000 < value < 1e9)) # no model of gigabytes
OPTIONS = st.tuples(st.sampled_from([*MODELS, *LOSSES]), st.dictionaries(st.sampled_from(NAMED), SMALL, max_size=2))

def check_chosen(chosen: tuple, folder: Path) -> None:
    name, options = chosen
    try:
        made = make_model(name, 3, 2, **options) if name in MODELS else make_loss(name, **options)
        with torch.no_grad():
            assert made.eval()(torch.ones(2, 3)).shape == (2, 2) if name in MODELS else True
    except InputError:
        pass

def check_space(value: object, folder: Path) -> None:
    try:
        distribution("lr", value)
    except InputError:
        pass
    try:
        apply(get_recipe("ridge"), value if isinstance(value, dict) else {"model_options.alpha": value})
    except InputError:
        pass

SPECIAL = st.sampled_from([0., 1., -1., 2., 1e-30, 1e30, 3e38, -3e38, 1e-45, math.nan, math.inf, .5])
STARTED = ["ridge", "pca_cosine", "whitened_procrustes", "canonical", "canonical_rff", "mlp", "canonical_mlp"]
LATENTS = st.tuples(st.sampled_from(STARTED), st.integers(0, 9), st.lists(SPECIAL, min_size=1, max_size=9),
                    st.integers(1, 8), st.booleans())

def check_latents(case: tuple, folder: Path) -> None:
    "Few latents, with one or many special values at some places."
    name, seed, values, captions, only = case
    rng = np.random.default_rng(seed)
    text, image = rng.normal(size=(captions, 3)).astype("f4"), rng.normal(size=(captions, 4)).astype("f4")
    for array in (text, image):
        places = rng.random(array.shape) < (1 if only else .2)
        array[places] = np.resize(values, places.sum())
    small = {"canonical_rff": {"count": 5, "folds": 2}, "canonical": {"folds": 2}, "canonical_mlp": {"hidden": 4}}
    image_of = torch.tensor(rng.integers(0, captions, captions))
    model = make_model(name, 3, 4, **small.get(name, {}))
    try:
        model.start(torch.tensor(text), torch.tensor(image), image_of)
    except InputError:
        return
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.eval()(torch.tensor(text)).isfinite().all()

STRUCTURES = {
    "submissions": Structure(submissions(), check_text),
    "names of pictures": Structure(NAMES, check_name),
    "plans": Structure(PLANS, check_plan),
    "options": Structure(OPTIONS, check_chosen),
    "spaces": Structure(HOSTILE, check_space),
    "latents": Structure(LATENTS, check_latents),
}

# Past findings

def past_traversal(folder: Path) -> None:
    for name in "../secret.png", str(folder/"secret.png"), "..\\secret.png", "link.png", "a/../../secret.png":
        check_name(name, folder)
        assert picture(folder/"pictures", name).size == (96, 96)

def past_pictures(folder: Path) -> None:
    for name in "a\0b", "\ud800", "fifo.png", "loop.png", "x"*10_000, "/dev/zero":
        check_name(name, folder)

def past_submissions(folder: Path) -> None:
    whole = 'id,embedding\n3,"[1, 2, 3, 4]"\n1,"[1, 2, 3, 4]"\n2,"[1, 2, 3, 4]"\n'
    path = folder/"past.csv"
    path.write_text(whole)
    assert check_submission(path, QUERIES, 4) == {"rows": 3, "dims": 4}
    swaps = {'"[1, 2, 3, 4]"': "[1, 2, 3, 4]", '4]"': "4]", "\n2,": "\n0_2,", "[1": "[true", "[1,": "[1e30,"}
    for old, new in swaps.items():
        path.write_text(whole.replace(old, new, 1))
        refused(check_submission, path, QUERIES, 4)

def past_predictions(folder: Path) -> None:
    path, one = folder/"past.npz", np.ones((2, 3))
    for latents, ids in (one*1e39, [1, 2]), (one, np.array([1, 2**63], np.uint64)), (one, [1, 1]):
        write_npz(path, {"embeddings": latents, "ids": np.asarray(ids)})
        refused(read_latents, path, "ids")
    write_npz(path, {"embeddings": one*[[0], [1]], "ids": np.arange(2)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_latents(path, "ids")
    assert len(caught) == 1

def past_latents(folder: Path) -> None:
    x, y, of = torch.randn(12, 3), torch.randn(6, 4), torch.arange(12)//2
    wrong = [(x*0, y, of), (x*0 + 1, y, of), (x, y*0, of), (x, y, of*0), (x*1e30, y, of), (x, y*1e30, of)]
    for name in "ridge", "pca_cosine", "whitened_procrustes", "canonical", "canonical_rff":
        for data in wrong:
            refused(make_model(name, 3, 4).start, *data)

def past_options(folder: Path) -> None:
    for name, options in {"mlp1": {"dropout": 2.}, "mlp2": {"hidden": 0}, "ridge": {"alpa": 1}}.items():
        refused(make_model, name, 3, 2, **options)
    for name, options in {"infonce": {"temperature": 0}, "triplet": {"margin": math.nan}, "mse": {"x": 1}}.items():
        refused(make_loss, name, **options)

def past_plans(folder: Path) -> None:
    for seed in -1, 2**70, 1.5, True, math.nan, "1":
        refused(models_of, [("ridge", "raw", [seed])], SPLITS)

PAST = {
    "a name leaves the folder": past_traversal, "a picture stops a page": past_pictures,
    "a submission that Kaggle refuses": past_submissions, "ids and overflow in predictions": past_predictions,
    "latents without spread": past_latents, "absurd options": past_options, "hostile plans": past_plans,
}
