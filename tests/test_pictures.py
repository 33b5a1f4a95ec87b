"A picture's name and its bytes come from somebody else: neither leads out of the folder, nor stops a page."
import os
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from latentkit import style
from latentkit.data import split_by_image
from latentkit.inspect_ui import inspect
from latentkit.inspection import point_html
from latentkit.report import Run, report
from latentkit.sample import toy
from latentkit.style import MOST_PIXELS, picture, picture_html, thumbnail

CARD, INSIDE, SECRET = (96, 96), (7, 5), (11, 13)
HOSTILE = ["../secret.png", "..\\secret.png", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\ud800",
           "\udcff.png", "a\0b", "", " ", ".", "..", "/", "C:\\secret.png", "x"*5000, "\u202e", "\r\n", "$\\frac{1}$",
           "%s", "/dev/zero", "fifo.png"]

@pytest.fixture
def folder(tmp_path):
    "A folder with a picture, beside a secret one."
    inside = tmp_path/"pictures"
    inside.mkdir()
    Image.new("RGB", INSIDE, "red").save(inside/"inside.png")
    Image.new("RGB", SECRET, "red").save(tmp_path/"secret.png")
    return inside

def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def png(width: int, height: int, data: bytes = b"") -> bytes:
    "A PNG whose header may promise more than there is."
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")

def test_a_name_never_leaves_the_folder(folder):
    ways = ["../secret.png", "..\\secret.png", str(folder.parent/"secret.png"), "a/../../secret.png", "./../secret",
            "../pictures/../secret"]
    for name in ways:
        assert picture(folder, name).size == CARD, name
    for name in "inside.png", "inside", "elsewhere/inside.png", "..\\inside", "../inside.png", "../pictures/inside.png":
        assert picture(folder, name).size == INSIDE, name

@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes of Unix")
def test_links_pipes_and_devices(folder):
    (folder/"link.png").symlink_to(folder.parent/"secret.png")
    (folder/"up").symlink_to(folder.parent)
    (folder/"loop.png").symlink_to(folder/"loop.png")
    (folder/"good.png").symlink_to(folder/"inside.png")
    (folder/"zero.png").symlink_to("/dev/zero")
    (folder/"folder.png").mkdir()
    os.mkfifo(folder/"fifo.png")
    for name in "link.png", "up/secret.png", "loop.png", "zero.png", "folder.png", "fifo.png":
        assert picture(folder, name).size == CARD, name
    assert picture(folder, "good.png").size == INSIDE
    (folder.parent/"alias").symlink_to(folder) # the folder itself may be a link
    assert picture(folder.parent/"alias", "inside.png").size == INSIDE

def test_too_many_pixels_are_refused_by_the_header(folder):
    (folder/"bomb.png").write_bytes(png(60_000, 60_000, bytes(1000)))
    (folder/"large.png").write_bytes(png(10_000, 1 + MOST_PIXELS//10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error") # Pillow's own warning, too
        assert picture(folder, "bomb.png").size == picture(folder, "large.png").size == CARD

def test_a_jpeg_of_many_scans_is_refused(folder):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), np.uint8))
    image.save(folder/"scans.jpg", progressive=True)
    data = (folder/"scans.jpg").read_bytes()
    assert picture(folder, "scans.jpg").size == (3000, 3000) and picture(folder, "scans.jpg", side=160).width < 1000
    begin = data.rindex(b"\xff\xda") # the last scan again and again
    (folder/"scans.jpg").write_bytes(data[:-2] + data[begin:begin + 100]*1000 + data[-2:])
    assert picture(folder, "scans.jpg").size == CARD

def test_damage_of_every_kind_is_a_card(folder, monkeypatch):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x"*(PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", INSIDE).save(folder/"text.png", pnginfo=text)
    whole = (folder/"inside.png").read_bytes()
    for name, data in {"cut": whole[:45], "empty": b"", "text2": b"P6 2 2 255 ", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n",
                       "header": png(0, 0)}.items():
        (folder/f"{name}.png").write_bytes(data)
        assert picture(folder, name).size == CARD, name
    assert picture(folder, "text.png").size == CARD
    for kind in MemoryError, RecursionError, SyntaxError, struct.error, ValueError, Image.DecompressionBombError:
        def broken(*arguments, kind=kind, **options):
            raise kind("in a decoder")
        monkeypatch.setattr(style.Image, "open", broken)
        assert picture(folder, "inside.png").size == CARD
    monkeypatch.undo()
    monkeypatch.setattr(style, "MOST_BYTES", 10)
    assert picture(folder, "inside.png").size == CARD

@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_drawn_and_escaped(folder, name):
    assert picture(None, name).size == picture(folder, name).size == CARD
    assert thumbnail(folder, name).startswith("data:image/jpeg")
    assert "<script" not in picture_html(folder, name, name) and "<img src=x" not in picture_html(folder, name, name)

def test_report_and_inspector_bear_hostile_names_and_captions(folder):
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder/"fifo.png")
    pairs = toy(images=60, each=3, dx=8, dy=8)
    names = np.array([HOSTILE[k % len(HOSTILE)] for k in range(len(pairs.names))])
    captions = np.array([HOSTILE[k % len(HOSTILE)] for k in range(len(pairs.captions))])
    pairs = replace(pairs, names=names, captions=captions)
    split = split_by_image(pairs.image_of, .3, .3)
    predictions = {"ridge": np.random.default_rng(0).normal(size=(len(split.val), 8)).astype("f4")}
    run = Run(pairs, split, predictions, folder=folder)
    page = report(folder.parent/"report.html", run).read_bytes().decode("utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page
    app = inspect(pairs, predictions, split.val, folder=folder, marks=folder.parent/"marks.csv")
    for view in "caption", "picture", "grid":
        app.view.value = view
        for place in range(len(app.listed)):
            app.listing.place = place
            points = place, len(split.val) + place % len(app.seen.names) # a caption's and a picture's
            point = "".join(point_html(app.seen, "ridge", number) for number in points)
            said = app.page.html + str(app.listing.line(place)) + app.text.value + point
            said.encode("utf-8") # what a browser can be sent
            assert "<script>alert" not in app.page.html + point
    app.view.value = "caption"
    app.buttons["wrong"].click()
    assert (folder.parent/"marks.csv").exists()

def test_a_card_bears_the_beginning_of_a_long_name(folder):
    for name in "x"*1_000_000, " "*1_000_000, "\ud800"*100_000, "a "*500_000:
        assert picture(folder, name).tobytes() == picture(folder, name[:200]).tobytes()
