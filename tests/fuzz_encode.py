"Captions in other forms than latentkit's own, damaged and forged."
import json
from pathlib import Path

from fuzzing import Bytes, Structure
from hypothesis import strategies as st

from latentkit.encode import read_any_captions
from latentkit.files import InputError

NOTES = [{"id": 7, "image_id": 3, "caption": "A dog runs."}, {"id": 8, "image_id": 4, "caption": "Zwei Hunde é\n"}]
COCO = {"images": [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "b/c.jpg"}], "annotations": NOTES}
LISTS = {"results.csv": "image_name| comment_number| comment\na.jpg| 0| A dog | runs.\nb.jpg| 4   A cat é.\n",
         "token.txt": "a.jpg#0\tA dog runs.\nb.jpg#1\tA cat é.\n"}

def read(path: Path) -> tuple:
    "The columns; whatever the damage, they fit together."
    found = read_any_captions(path)
    assert len(found.ids) == len(found.texts) == len(found.images) == len(set(found.ids.tolist())) > 0
    assert not any("\n" in text for text in found.texts)
    for text in [*found.texts, *found.images]:
        assert "\0" not in text and text.encode("utf-8") is not None # no surrogates
    return found.ids.tolist(), found.texts, found.images

def maker(name: str, text: str):
    "What writes a whole file."
    def make(folder: Path) -> Path:
        (folder/name).write_text(text, "utf-8")
        return folder/name
    return make

BYTES = {"captions.json": Bytes(maker("captions.json", json.dumps(COCO)), read, exact=False),
         **{f"captions in {name}": Bytes(maker(name, text), read, exact=False) for name, text in LISTS.items()}}

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
records = st.dictionaries(st.sampled_from(["id", "image_id", "file_name", "caption"]), values, max_size=4)
right_image = st.fixed_dictionaries({"id": st.integers(0, 2), "file_name": st.sampled_from(["a.jpg", "../b.jpg"])})
right_note = st.fixed_dictionaries({
    "id": st.integers() | values, "image_id": st.integers(0, 2), "caption": st.text(max_size=5)})
forged = st.fixed_dictionaries({
    "images": st.lists(records, max_size=2) | st.lists(right_image, min_size=1, max_size=3),
    "annotations": st.lists(records, max_size=2) | st.lists(right_note, min_size=1, max_size=3)})

def check(value: dict, folder: Path) -> None:
    "`InputError`, or just what the JSON says."
    (folder/"captions.json").write_text(json.dumps(value), "utf-8")
    try:
        ids, texts, images = read(folder/"captions.json")
    except InputError:
        return
    assert ids == [int(note["id"]) for note in value["annotations"]]
    assert not any(isinstance(note["id"], (bool, float)) for note in value["annotations"])
    names = {image["id"]: image["file_name"] for image in value["images"]}
    assert images == [names[note["image_id"]] for note in value["annotations"]]
    assert [text.split() for text in texts] == [note["caption"].split() for note in value["annotations"]]

STRUCTURES = {"captions of COCO": Structure(forged, check)}
PAST: dict = {}
