"Reading data, attacked: npz files, caption lists, marks, and the cache that others share."
import csv
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from fuzzing import Bytes, Structure
from hypothesis import strategies as st

from latentkit import data, files, filter, more, views
from latentkit.files import FullDiskError, InputError

N, M, DX, DY = 6, 3, 2, 3


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    "A small and whole train.npz."
    rng = np.random.default_rng(seed)
    return {"captions/ids": np.arange(10, 10 + N), "captions/text": np.array([f"caption {i}é" for i in range(N)]),
            "captions/embeddings": rng.normal(size=(N, DX)).astype("f4"),
            "captions/label": np.eye(M, dtype=bool)[np.arange(N) % M],
            "images/names": np.array([f"{i}.jpg" for i in range(M)]),
            "images/embeddings": rng.normal(size=(M, DY)).astype("f4"),
            "metadata/num_captions": np.array([N]), "metadata/captions_per_image": np.array([N//M])}


def write(path: Path, content: dict) -> Path:
    "An npz as numpy writes it; objects are pickled, as a careless writer does."
    np.savez_compressed(path, **content)
    return path


def write_train(folder: Path, **changed) -> Path:
    "The small train.npz, with some arrays changed or (None) left out; `__` in a name stands for the slash."
    content = arrays() | {key.replace("__", "/"): value for key, value in changed.items()}
    return write(folder/"train.npz", {key: value for key, value in content.items() if value is not None})


def plain(pairs: data.Pairs) -> tuple:
    "Everything that was read, to be compared."
    return (pairs.text.tobytes(), pairs.image.tobytes(), pairs.image_of.tolist(), pairs.ids.tolist(),
            pairs.captions.tolist(), pairs.names.tolist(), pairs.crc, pairs.fingerprint)


def read_train(path: Path) -> tuple:
    "A training file, read into a cache of its own and then from there."
    with tempfile.TemporaryDirectory(dir=path.parent) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = plain(data.read_pairs(path, cache=cache))
        assert plain(data.read_pairs(path, cache=cache)) == first
        return first


def read_test(path: Path) -> tuple:
    "A test file."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        queries = data.read_queries(path)
    return queries.text.tobytes(), queries.ids.tolist(), queries.captions.tolist()


def make_test(folder: Path) -> Path:
    "A small test.clean.npz."
    return write(folder/"test.clean.npz", {key: arrays()[key] for key in data.TEST_ARRAYS})


def make_unlabelled(folder: Path) -> Path:
    "A training file with captions/image, not compressed, in Fortran order."
    content = arrays()
    del content["captions/label"]
    content["captions/image"] = content["images/names"][np.arange(N) % M]
    content["captions/embeddings"] = np.asfortranarray(content["captions/embeddings"])
    np.savez(folder/"train.npz", **content)
    return folder/"train.npz"


def make_captions(folder: Path) -> Path:
    "A caption list with quotes."
    with open(folder/"captions.txt", "w", newline="") as file:
        rows = zip(arrays()["captions/ids"], ["0.jpg", "a/1.jpg", "2"]*2, ['A "big" cat, asleep', "Two dogs|", "é"]*2)
        csv.writer(file).writerows([("id", "image", "caption"), *rows])
    return folder/"captions.txt"


def read_list(path: Path) -> list:
    "A caption list as columns, and as the image of each caption."
    content = arrays()
    found = data.read_captions(path)
    assert len({len(column) for column in found.values()}) == 1
    ids, texts, names = content["captions/ids"], content["captions/text"], content["images/names"]
    image_of = data.image_of_from_captions(path, ids, texts, names)
    assert image_of.shape == (N,) and image_of.min() >= 0 and image_of.max() < M
    return image_of.tolist()


def small_pairs() -> data.Pairs:
    "The pairs of `arrays`, without a file."
    content = arrays()
    return data.Pairs(content["captions/embeddings"], content["images/embeddings"], np.arange(N) % M,
                      content["captions/ids"], content["captions/text"], content["images/names"])


def make_marks(folder: Path) -> Path:
    "Marks of three captions."
    (folder/"marks.csv").write_text('id,mark,by\n10,wrong,"me, myself"\n11,doubtful,\n15,wrong,you\n')
    return folder/"marks.csv"


def read_marks(path: Path) -> list:
    "The mark of each caption."
    found = filter.read_marks(path, small_pairs()).mark.tolist()
    assert len(found) == N and set(found) <= {"", *filter.MARKS}
    return found


def make_view(folder: Path) -> Path:
    return write(folder/"view.npz", {key: value for key, value in arrays().items()
                                     if key in ("captions/ids", "captions/embeddings")})


def read_view(path: Path) -> bytes:
    return views.read_view(path, arrays()["captions/ids"]).tobytes()


def make_variants(folder: Path) -> Path:
    latents = arrays()["images/embeddings"]
    return write(folder/"variants.npz", {"images/variants": np.stack([latents, -latents]).astype("f2"),
                                         "images/names": arrays()["images/names"]})


def read_variants(path: Path) -> bytes:
    known = arrays()
    pairs = data.Pairs(known["captions/embeddings"], known["images/embeddings"], np.arange(N) % M,
                       known["captions/ids"], known["captions/text"], known["images/names"])
    return more.read_variants(path, pairs).tobytes()


BYTES = {"train.npz": Bytes(lambda folder: write_train(folder), read_train, exact=True),
         "train.npz without label": Bytes(make_unlabelled, read_train, exact=True),
         "test.clean.npz": Bytes(make_test, read_test, exact=True),
         "a view": Bytes(make_view, read_view, exact=True),
         "variants.npz": Bytes(make_variants, read_variants, exact=True),
         "captions.txt": Bytes(make_captions, read_list, exact=False),
         "marks.csv": Bytes(make_marks, read_marks, exact=False)}


# --- structure: arrays of any dtype, shape and value

DTYPES = "f2 f4 f8 >f4 i1 i2 i4 i8 u1 u8 >i8 ?".split() + ["U1", "U7", ">U5", "S3", "O", "c8", "M8[s]", "f4,f4"]
SPECIAL = [0, 1, -1, 2, .5, np.nan, np.inf, 3e38, 1e200, 2.**63, -2.**63, 1e-30]
shapes = st.lists(st.sampled_from([0, 1, 2, M, N, 7]), max_size=3).map(tuple)
right = {key: array.shape for key, array in arrays().items()}


@st.composite
def changes(draw) -> dict:
    "Some keys of the training file, each with another array: its dtype, shape, order and values."
    chosen = draw(st.lists(st.sampled_from([*right, "captions/image"]), min_size=1, max_size=3, unique=True))
    special = st.just([]) | st.lists(st.sampled_from(SPECIAL), max_size=2)
    own = st.sampled_from([None]*3)
    return {key: draw(st.tuples(own | st.sampled_from(DTYPES), own | own | own | shapes, st.booleans(), special,
                                st.integers(0, 9)) | st.none()) for key in chosen}


def build(key: str, dtype: str | None, shape: tuple | None, fortran: bool, special: list, seed: int) -> np.ndarray:
    "The array that a case describes; without dtype and shape, the right one in another order."
    rng = np.random.default_rng(seed)
    old = (arrays() | {"captions/image": np.arange(N) % M})[key]
    base = rng.permutation(old) if shape in (None, old.shape) else rng.integers(0, 3, shape)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if special and base.dtype.kind != "U":
            base = base.astype("f8")
            base.flat[:len(special)] = special[:base.size]
        try:
            array = base.astype(dtype or old.dtype)
        except ValueError: # names are no numbers
            array = np.ones(base.shape, dtype)
    return np.asfortranarray(array) if fortran else array


def check_arrays(case: dict, folder: Path) -> None:
    "What is read is what numpy reads, or an `InputError`."
    content = arrays()
    for key, change in case.items():
        content.pop(key, None)
        if change is not None:
            content[key] = build(key, *change)
    path = write(folder/"train.npz", content)
    try:
        found = read_train(path)
    except InputError:
        return
    with np.errstate(over="ignore"):
        text, image = (content[f"{side}/embeddings"].astype("f4") for side in ("captions", "images"))
    assert np.isfinite((text**2).sum(1)).all() and (image**2).sum(1).all()
    assert found[0] == text.tobytes() and found[1] == image.tobytes()
    assert found[3] == content["captions/ids"].tolist() and len(set(found[3])) == N
    assert found[4] == content["captions/text"].tolist() and found[5] == content["images/names"].tolist()
    assert found[2] == truth(content)


def truth(content: dict) -> list[int]:
    "The image of each caption, the plain way."
    if "captions/label" in content:
        label = content["captions/label"]
        assert np.isin(label, [0, 1]).all() and (label.sum(1) == 1).all()
        return label.argmax(1).tolist()
    if "captions/image" in content:
        image = content["captions/image"]
        names = content["images/names"].tolist()
        return [names.index(name) for name in image.tolist()] if image.dtype.kind == "U" else image.tolist()
    return (np.arange(len(content["captions/ids"]))//int(content["metadata/captions_per_image"].ravel()[0])).tolist()


# --- structure: headers as nobody should write them

PIECES = ["{", "}", "'descr'", "'fortran_order'", "'shape'", ":", ",", " ", "(", ")", "[", "]", "'<f4'", "'|O'",
          "'<U0'", "'<U99999999999'", "'<f4,<f4'", "True", "False", "-1", "6", "2", "6, 2", "(6, 2)", "(6L, 2L)",
          "9"*30, "9"*5000, "10**9", "'", '"', "\\", "\n", "\0", "#", "("*300, "-"*300, "lambda: 0", "1e9", "é"]
GOOD = ["{", "'descr'", ":", " ", "'<f4'", ",", " ", "'fortran_order'", ":", " ", "False", ",", " ", "'shape'", ":",
        " ", "(6, 2)", ",", " ", "}"]


def spoil(edits: list) -> list[str]:
    "A good header with some pieces replaced."
    pieces = list(GOOD)
    for at, count, piece in edits:
        pieces[at:at+count] = [piece]
    return pieces


edits = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 2), st.sampled_from([*PIECES, *[" "]*30])),
                 max_size=3)
headers = st.lists(st.sampled_from(PIECES), max_size=25) | edits.map(spoil) | edits.map(spoil) | edits.map(spoil)


def raw_array(header: bytes, body: bytes, version: tuple = (1, 0), claim: int | None = None) -> bytes:
    "An `.npy` file with any header."
    count = len(header) if claim is None else claim
    size = struct.pack("<H", count % 65536) if version[0] == 1 else struct.pack("<I", count)
    return b"\x93NUMPY" + bytes(version) + size + header + body


def replace_member(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
    "Write the zip again with another member in place of `name`."
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, old in (members | {name: content}).items():
            archive.writestr(other, content if other == name else old,
                             compression if other == name else zipfile.ZIP_DEFLATED)


def check_header(case: tuple, folder: Path) -> None:
    "Any header is refused, or numpy reads the same with it."
    pieces, version, claim, body = case
    header = "".join(pieces).encode("utf-8")
    raw = raw_array(header, bytes(range(48)) + b"?"*body if body < 8 else bytes(range(body)), (version, 0), claim)
    path = make_test(folder)
    replace_member(path, "captions/embeddings.npy", raw)
    try:
        found = read_test(path)
    except InputError:
        return
    assert found[0] == np.load(io.BytesIO(raw), allow_pickle=False).astype("f4").tobytes()


# --- structure: zips as nobody should write them

def check_zip(case: list, folder: Path) -> None:
    "A zip with odd features is refused, or read as if it had none."
    path = write_train(folder)
    expected = read_train(path)
    for name, number in sorted(case, key=lambda step: [*ZIPS].index(step[0])): # a spoiled one is not written again
        ZIPS[name](path, number)
    try:
        assert read_train(path) == expected
    except InputError:
        pass


def patch_directory(path: Path, number: int, offset: int, form: str, value: int) -> None:
    "Overwrite one field of one entry of the zip's directory."
    raw, at = bytearray(path.read_bytes()), -1
    for _ in range(number % 8 + 1):
        at = raw.find(b"PK\1\2", at + 1)
    if at >= 0:
        struct.pack_into(form, raw, at + offset, value & (0xFFFF if form == "<H" else 0xFFFFFFFF))
        path.write_bytes(raw)


def append_member(path: Path, name: str, content: bytes, compression: int) -> None:
    "Add a member, under a name that may be there already."
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a", compression) as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, content)


def any_member(number: int) -> str:
    "One of the members' names."
    return f"{[*arrays()][number % len(arrays())]}.npy"


def recompress(path: Path, number: int) -> None:
    "Another compression for one member."
    with zipfile.ZipFile(path) as archive:
        content = archive.read(name := any_member(number))
    replace_member(path, name, content, [0, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][number % 4])


ZIPS = {
    "other": lambda path, number: append_member(path, "../../evil", bytes(number % 5000), 8),
    "bzip2": lambda path, number: append_member(path, "other.npy", bytes(number % 5000), zipfile.ZIP_BZIP2),
    "compression": recompress,
    "longer": lambda path, number: lengthen(path, number),
    "twice": lambda path, number: append_member(path, any_member(number), b"", 8),
    "encrypted": lambda path, number: patch_directory(path, number, 8, "<H", 1),
    "flags": lambda path, number: patch_directory(path, number, 8, "<H", number),
    "method": lambda path, number: patch_directory(path, number, 10, "<H", number),
    "crc": lambda path, number: patch_directory(path, number, 16, "<L", number),
    "packed size": lambda path, number: patch_directory(path, number, 20, "<L", number),
    "size": lambda path, number: patch_directory(path, number, 24, "<L", number),
    "name length": lambda path, number: patch_directory(path, number, 28, "<H", number % 65536),
    "offset": lambda path, number: patch_directory(path, number, 42, "<L", number),
    "before": lambda path, number: path.write_bytes(bytes(number % 300) + path.read_bytes()),
    "behind": lambda path, number: path.write_bytes(path.read_bytes() + bytes(number % 300)),
}


def lengthen(path: Path, number: int) -> None:
    "Bytes after the end of one array, with the right checksum."
    with zipfile.ZipFile(path) as archive:
        content = archive.read(name := any_member(number))
    replace_member(path, name, content + b"x"*(number % 3))


# --- structure: lists

words = st.text(st.sampled_from("ab1, |\t\"'\r\\é\u2028"), min_size=1, max_size=8) | st.just("a\0b")
numbers = st.sampled_from(["10", "11", "12", "13", "14", "15", "16", "+10", "x"])
rows = st.tuples(numbers, st.sampled_from(["0.jpg", "1", "d/2.jpg", "3"]), words, st.booleans())
lists = st.tuples(st.sampled_from([",", "|", "\t"]), st.sampled_from(data.HEADERS), st.booleans(),
                  st.lists(rows, max_size=8))


def check_list(case: tuple, folder: Path) -> None:
    "A list is refused, or each caption has the image that its line says."
    separator, header, full, rows = case
    if full:
        rows = [(str(10 + i), ["0", "1.jpg", "x/2.jpg"][i % M], row[2], row[3]) for i, row in enumerate((rows*N)[:N])]
    lines = [separator.join(header)]
    for number, image, caption, quoted in rows:
        fields = {"id": number, "image": image, "caption": caption}
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator="").writerow([fields[name] for name in header])
        lines.append(text.getvalue() if quoted else separator.join(fields[name] for name in header))
    (folder/"captions.txt").write_bytes("\n".join(lines).encode())
    try:
        found = read_list(folder/"captions.txt")
    except InputError:
        return
    if "id" in header:
        assert [row[0] for row in rows if row[0].isdigit()]
        images = {number: {"0.jpg": 0, "0": 0, "1": 1, "1.jpg": 1}.get(image, 2) for number, image, *_ in rows}
        assert found == [images[str(number)] for number in range(10, 16)]


kinds = st.sampled_from(["wrong", "doubtful", " wrong "]) | st.sampled_from(["", "Wrong", "nan", '"wrong', "wrong,x"])
keys = st.sampled_from(["10", "11", " 12 ", '"13"', "14"]) | st.sampled_from(["16", "10.0", "", "nan", "\0"])
marks = st.lists(st.tuples(keys, kinds), max_size=4)


def check_marks(case: list, folder: Path) -> None:
    "Marks are refused, or are those of the list."
    (folder/"marks.csv").write_text("id,mark\n" + "".join(f"{number},{mark}\n" for number, mark in case))
    try:
        found = read_marks(folder/"marks.csv")
    except InputError:
        return
    said = {number.strip(' "'): mark.strip(' "').removesuffix(",x") for number, mark in case if number + mark}
    assert found == [said.get(str(number), "") for number in range(10, 16)]


# --- structure: a cache that others have touched

harms = st.sampled_from(["delete", "cut", "flip", "empty", "grow", "folder"])
harm = st.tuples(st.integers(0, 9), harms, st.integers(0, 4000))


def check_cache(case: list, folder: Path) -> None:
    "Whatever happens to the files of a copy, the same arrays are read again."
    path, cache = write_train(folder), folder/"cache"
    shutil.rmtree(cache, ignore_errors=True)
    expected = plain(data.read_pairs(path, cache=cache))
    [copy] = cache.glob("train-*")
    for number, kind, at in case:
        found = [p for p in sorted(copy.iterdir()) if p.is_file() and p.name != files.MARK]
        if found:
            spoil_file(found[number % len(found)], kind, at)
    assert plain(data.read_pairs(path, cache=cache)) == expected


def spoil_file(path: Path, kind: str, at: int) -> None:
    "Do one kind of harm to a file."
    raw = bytearray(path.read_bytes())
    at %= max(1, len(raw))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "flip" and raw:
        raw[at] ^= 1 << at % 8
        path.write_bytes(raw)
    elif kind != "delete":
        path.write_bytes({"cut": raw[:at], "empty": b"", "grow": raw + b"x"}.get(kind, raw))


STRUCTURES = {
    "npz arrays": Structure(changes(), check_arrays),
    "npz headers": Structure(st.tuples(
        headers, st.sampled_from([1, 1, 2, 3, 4, 0]), st.sampled_from([None]*7) | st.integers(0, 70000),
        st.sampled_from([0]*7) | st.integers(0, 60)), check_header),
    "zip features": Structure(st.lists(st.tuples(st.sampled_from([*ZIPS]), st.one_of(
        st.integers(0, 300), st.integers(0, 2**32 - 1))), min_size=1, max_size=2), check_zip),
    "caption lists": Structure(lists, check_list),
    "marks": Structure(marks, check_marks),
    "cache": Structure(st.lists(harm, min_size=1, max_size=3), check_cache),
}


# --- what was found before

@contextmanager
def refused(match: str | None = None):
    "An `InputError` whose message matches, and no other."
    with pytest.raises(InputError, match=match):
        yield


def refuse(folder: Path, match: str, **changed) -> None:
    "A train.npz with these arrays is refused, and leaves nothing in the cache."
    path = write_train(folder, **changed)
    with refused(match):
        data.read_pairs(path, cache=folder/"cache")
    assert not (folder/"cache").exists() or not list((folder/"cache").iterdir())


def bomb(folder: Path) -> None:
    "10 MB of a zip that would be 4 GB: under 20 MB of memory, no disk."
    path, size = folder/"train.npz", 10_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("captions/text.npy", zlib.compress(bytes(size), 0)[2:-4])
    patch_directory(path, 0, 10, "<H", zipfile.ZIP_DEFLATED)
    patch_directory(path, 0, 24, "<L", 4_000_000_000)
    tracemalloc.start()
    with refused("bytes to unpack from a file of"):
        data.read_pairs(path, cache=folder/"cache")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert not list((folder/"cache").rglob("*"))


def many_members(folder: Path) -> None:
    "A directory of very many members is not even parsed."
    with zipfile.ZipFile(folder/"a.npz", "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number}.npy", b"")
    with refused("a zip directory of"):
        data.read_queries(folder/"a.npz")


def wrong_shape_writes_nothing(folder: Path) -> None:
    "Shapes are compared before the latents are copied."
    with patch.object(data, "copy_latents", side_effect=AssertionError):
        refuse(folder, "captions/label: found shape", captions__label=np.eye(5, dtype=bool))
        refuse(folder, "captions/ids: found shape", captions__ids=np.arange(5))
        refuse(folder, "metadata/num_captions", metadata__num_captions=np.array([7]))
        refuse(folder, "metadata/num_captions", metadata__num_captions=np.arange(100))


def hostile_headers(folder: Path) -> None:
    "Headers that asked for 17.9 GiB, or ended in TokenError, SyntaxError, RecursionError, OverflowError or worse."
    template = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
    shapes = ["(-6, 2)", "(6, -2)", "(4800000000, 1)", "(9223372036854775807, 2)", "(18446744073709551616, 2)",
              f"({'9'*5000},)", "(6, 2", "6"]
    hostile = [template % ("<f4", shape) for shape in shapes]
    hostile += [template % (dtype, "(6, 2)") for dtype in ("|O", "<U0", "<U2147483647", "<f5", "<M8", "f4,f4", "|V8")]
    hostile += ["(" * 2000, "-" * 9000, "{'descr'", '"""', "\0", "{" * 200 + "}" * 200, "", "lambda: 1", "é" * 50]
    for header in hostile:
        path = make_test(folder)
        for version in (1, 0), (2, 0), (3, 0), (9, 9):
            replace_member(path, "captions/embeddings.npy", raw_array(header.encode(), bytes(48), version))
            with refused():
                data.read_queries(path)


def objects(folder: Path) -> None:
    "Pickled objects are never unpickled."
    refuse(folder, "Python objects", captions__text=np.array(["x", None]*3, object))


def hostile_zips(folder: Path) -> None:
    "Encrypted, in an unknown compression, a name twice, an array longer than its header says."
    for name, number in ("encrypted", 0), ("method", 9), ("twice", 0), ("longer", 1):
        path = write_train(folder)
        ZIPS[name](path, number)
        with refused():
            data.read_pairs(path, cache=folder/"cache")
    for compression in 2, 3: # bzip2, LZMA
        path = write_train(folder)
        recompress(path, compression)
        with refused("compression is not deflate"):
            data.read_pairs(path, cache=folder/"cache")


def checksum_of_label(folder: Path) -> None:
    "A label with a wrong checksum is damaged, even if its first rows are refused already."
    path = write_train(folder, captions__label=np.ones((N, M), bool))
    patch_directory(path, 3, 16, "<L", 12345)
    with refused("damaged"):
        data.read_pairs(path, cache=folder/"cache")


def large_ids(folder: Path) -> None:
    "Ids of 2^63 became negative."
    refuse(folder, "id 9223372036854775813; expected ids below", captions__ids=np.arange(N).astype("u8") + 2**63)
    refuse(folder, "dtype float64", captions__ids=np.arange(N)*1.)
    path = write_train(folder, captions__ids=np.arange(N).astype("u8"))
    assert data.read_pairs(path, cache=folder/"cache").ids.tolist() == list(range(N))


def label_values(folder: Path) -> None:
    "NaN, 0.5, -1 and 2 counted as the one; a bool of another byte than 0 and 1 as well."
    label = arrays()["captions/label"]
    for wrong in label*np.nan, label*.5, label*-1., label*2, -label.astype("i1"), (label*np.uint8(3)).view(bool):
        refuse(folder, "captions/label", captions__label=wrong)
    for fine in label*1., label.astype("u8"), np.asfortranarray(label), np.where(label, 1, -0.):
        read = data.read_pairs(write_train(folder, captions__label=fine), cache=folder/"cache")
        assert read.image_of.tolist() == [0, 1, 2]*2


def fortran_order(folder: Path) -> None:
    "Fortran order is read as it is meant."
    expected = read_train(write_train(folder))
    turned = {key.replace("/", "__"): np.asfortranarray(array) for key, array in arrays().items()}
    assert read_train(write_train(folder, **turned)) == expected


def broken_text(folder: Path) -> None:
    "NUL inside, surrogates, and numbers that are no characters, in captions and names."
    for bad in "a\0b", "\ud800", "x\udfff":
        refuse(folder, "captions/text row 2", captions__text=np.array(["é", "b", bad, "d", "", "\U0010ffff"]))
        refuse(folder, "images/names row 0", images__names=np.array([bad, "b", "c"]))
    for order in "<>":
        codes = np.array([[65, 66]]*N, f"{order}u4")
        codes[4, 1] = 0x110000
        refuse(folder, "captions/text row 4", captions__text=codes.view(f"{order}U2").ravel())


def degenerate(folder: Path) -> None:
    "Zero images and squares that overflow are refused; zero, constant, repeated captions are told, each time."
    text, image = arrays()["captions/embeddings"], arrays()["images/embeddings"]
    refuse(folder, "images/embeddings row 1: found an image latent of all zeros",
           images__embeddings=(image*[[1], [0], [1]]).astype("f4"))
    refuse(folder, "captions/embeddings row 0: found values so large", captions__embeddings=text*np.float32(1e25))
    refuse(folder, "captions/embeddings row 0: found NaN or infinite", captions__embeddings=text.astype("f8")*1e200)
    path = write(folder/"test.clean.npz", {key: arrays()[key] for key in data.TEST_ARRAYS}
                 | {"captions/embeddings": text.astype("f8")*1e200})
    with refused("row 0: found NaN or infinite"):
        data.read_queries(path)
    text[1], text[3], text[5] = 0, 7, text[4]
    path = write_train(folder, captions__embeddings=text)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            data.read_pairs(path, cache=folder/"cache")
        lines = "\n".join(str(warning.message) for warning in told)
        for line in "all zeros, first row 1", "of one value each, first row 3", "a repetition of another, first row 5":
            assert line in lines, lines


def read_again(path: Path, cache: Path, allowed: list, wrong: list, stop: threading.Event) -> None:
    "Read until `stop`, and keep what is not allowed."
    while not stop.is_set():
        try:
            if plain(data.read_pairs(path, cache=cache)) not in allowed:
                wrong.append("a mixture")
        except BaseException as error:
            told = isinstance(error, InputError) and ("changed while" in str(error) or "vanish" in str(error))
            wrong += [] if told else [error]


def replaced_while_read(folder: Path) -> None:
    "A source that is replaced again and again while three threads read it: one source's arrays, never a mixture."
    allowed, wrong, stop = [], [], threading.Event()
    ids = [np.arange(N) + 100*seed for seed in range(6)]
    sources = [write(folder/f"{seed}.npz", arrays(seed) | {"captions/ids": ids[seed]}) for seed in range(6)]
    allowed = [read_train(path) for path in sources]
    path, cache = folder/"train.npz", folder/"cache"
    shutil.copy(sources[0], path)
    threads = [threading.Thread(target=read_again, args=(path, cache, allowed, wrong, stop)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        shutil.copy(sources[turn % 6], folder/"new")
        os.replace(folder/"new", path)
        stop.wait(.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    write(path, arrays(1))
    data.read_pairs(path, cache=cache)
    assert len(list(cache.iterdir())) == 1


def changed_while_read(folder: Path) -> None:
    "A source that changes in the middle of the unpacking: read again once, then refused."
    path, copy, changes, most = write_train(folder), data.copy_latents, [], [1]
    other = write(folder/"other.npz", arrays(1)).read_bytes()

    def change(*args):
        if len(changes) < most[0] and args[2] == "captions/embeddings":
            changes.append(1)
            path.write_bytes(other)
            os.utime(path, ns=(0, len(changes)))
        return copy(*args)

    with patch.object(data, "copy_latents", side_effect=change):
        assert plain(data.read_pairs(path, cache=folder/"cache")) == read_train(folder/"other.npz")
        shutil.rmtree(folder/"cache")
        most[0] = 99
        with refused("being changed while it is read"):
            data.read_pairs(path, cache=folder/"cache")
    assert not list((folder/"cache").iterdir())


def folder_deleted_under_a_reader(folder: Path) -> None:
    "Another process deletes the copy between two looks at it: it is unpacked again."
    path, read_facts, left = write_train(folder), data.read_facts, [1]
    expected = plain(data.read_pairs(path, cache=folder/"cache"))

    def delete_after(copy):
        facts = read_facts(copy)
        if left:
            left.pop()
            shutil.rmtree(copy)
        return facts

    with patch.object(data, "read_facts", side_effect=delete_after):
        assert plain(data.read_pairs(path, cache=folder/"cache")) == expected


READER = """
import sys
from latentkit.data import read_pairs
pairs = read_pairs(sys.argv[1], cache=sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""


def open_copy_stays(folder: Path) -> None:
    "A copy that another process has open stays until that ends; a dead reader's mark does not count."
    path, cache = write_train(folder), folder/"cache"
    command = [sys.executable, "-c", READER, path, cache]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"open\n"
        [old] = cache.glob("train-*")
        write(path, arrays(1))
        data.read_pairs(path, cache=cache)
        assert list(old.glob(".reader-*"))
        reader.kill()
    assert list(old.glob(".reader-*"))
    write(path, arrays(2))
    data.read_pairs(path, cache=cache)
    assert len(list(cache.iterdir())) == 1


def only_marked_folders_go(folder: Path) -> None:
    "Folders of the cache that latentkit has not marked stay, also with a facts.json."
    path, cache = write_train(folder), folder/"cache"
    data.read_pairs(path, cache=cache)
    [old] = cache.glob("train-*")
    shutil.copytree(old, cache/"mine")
    (cache/"mine"/files.MARK).unlink()
    write(path, arrays(1))
    data.read_pairs(path, cache=cache)
    assert (cache/"mine").is_dir() and not old.exists()


def own_samples_stay(folder: Path) -> None:
    "`sample-mine` in the cache is the user's."
    from latentkit import sample
    for name in "sample-mine", "sample-current":
        (folder/name).mkdir()
    sample.drop_old_samples(folder/"sample-current")
    assert (folder/"sample-mine").is_dir()


FULL_DISK = """
import resource, sys
from pathlib import Path
from latentkit import data, files
path, cache = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    data.read_pairs(path, cache=cache)
except files.FullDiskError as error:
    assert str(cache) in str(error) and "full disk" in str(error) and not list(cache.iterdir()), error
    print("full")
"""


def full_disk(folder: Path) -> None:
    "A disk that is full before or while a file is unpacked is called that; the file is not to blame."
    latents = np.random.default_rng(0).normal(size=(N, 3000))
    path = write_train(folder, captions__embeddings=latents)
    for most in 5, 150, 40_000: # the mark, the small arrays, the latents
        command = [sys.executable, "-c", FULL_DISK, path, folder/"cache", str(most)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout == "full\n", (most, done.stderr)
    usage = shutil.disk_usage(folder)._replace(free=1000)
    with patch.object(shutil, "disk_usage", return_value=usage), pytest.raises(FullDiskError, match="cache"):
        data.read_pairs(path, cache=folder/"cache")
    assert not list((folder/"cache").iterdir())


def no_regular_file(folder: Path) -> None:
    "A pipe, a device or a folder in place of a file."
    os.mkfifo(folder/"pipe")
    for path in folder/"pipe", folder, Path("/dev/zero"), folder/"none", folder/("x"*5000), Path(f"{folder}/a\0b"):
        for read in data.read_captions, data.read_queries, filter.read_mark_table, data.read_pairs:
            with refused():
                read(path)


def captions_that_csv_refuses(folder: Path) -> None:
    "NUL bytes, a field without end, a carriage return inside a line, another encoding."
    path = folder/"captions.txt"
    for body in b"0,a\0b", b'0,"' + b"x"*200_000, b'0,"a"\rb,c', b"0,\xff":
        path.write_bytes(b"id,caption\n" + body)
        with refused():
            data.read_captions(path)


PAST = {function.__name__.replace("_", " "): function for function in (
    bomb, many_members, wrong_shape_writes_nothing, hostile_headers, objects, hostile_zips, checksum_of_label,
    large_ids, label_values, fortran_order, broken_text, degenerate, replaced_while_read, changed_while_read,
    folder_deleted_under_a_reader, open_copy_stays, only_marked_folders_go, own_samples_stay, full_disk,
    no_regular_file, captions_that_csv_refuses)}
