"RESULTS.md and the README's table are made from what runs have left."
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from latentkit.ensemble import Predictions, save_gallery
from project import ROOT, output

NAMES = "A-mlp", "best"
BY_HAND = {"Speed", "At the competition's full size", "The inspector beside other tools"} # parts that stay

def leave_run(out, mrr):
    "The files of a run that bench/results.py reads."
    row = {"protocol": "full, 4 images", "MRR": mrr, "low": .1, "high": .9, "R@1": .2, "R@5": .3, "R@10": .4,
           "unseen MRR": mrr + .001, "unseen low": .1, "unseen high": .9, "seconds trained": 7.4, "parameters": 1234}
    (out/"submission").mkdir(parents=True)
    pd.DataFrame({name: row for name in NAMES}).T.rename_axis("name").to_csv(out/"submission"/"results.csv")
    latents, groups = np.eye(4, dtype=np.float32), np.array([3, 5, 8, 9])
    save_gallery(out/"submission", latents, groups)
    for name in NAMES:
        Predictions(name, latents, groups, latents, np.arange(4)).save(out/"submission")

def leave_comparison(out):
    row = {"MRR": .25, "low": .2, "high": .3, "MRR blocks": .5, "seconds": 7.4, "epochs": 3, "stopped by": "time",
           "parameters": 1234}
    (out/"compare").mkdir()
    pd.DataFrame({"ridge": row}).T.rename_axis("recipe").to_csv(out/"compare"/"compare.csv")

FAULT = {"fault or attack": "kills", "a plain notebook": "half a file", "latentkit": "nothing lost", "cases": 1060,
         "command": "python tests/faults.py kills", "failed": False}

def parts_of(text):
    return dict(part.split("\n", 1) for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])

@pytest.mark.parametrize("real", [False, True], ids=["sample", "both"])
def test_results_are_renewed(copy, tmp_path, real):
    "What was measured takes the place of what stood there; the rest stays."
    before = parts_of((copy/"RESULTS.md").read_text("utf-8"))
    leave_run(tmp_path/"sample", .3)
    (tmp_path/"faults.json").write_text(json.dumps([FAULT]))
    more = ["--faults", tmp_path/"faults.json"]
    if real:
        leave_run(tmp_path/"real", .7)
        leave_comparison(tmp_path/"real")
        more += ["--data", "../shared/flickr8k", "--out", tmp_path/"real"]
    output(sys.executable, copy/"bench"/"results.py", "--sample", tmp_path/"sample", *more)
    after = parts_of((copy/"RESULTS.md").read_text("utf-8"))
    assert list(after) == list(before)
    assert "| best | 0.300 | 0.100 to 0.900 | 0.200 | 0.300 | 0.400 | **0.301** |" in after["The built-in sample"]
    assert "| kills | half a file | nothing lost | 1,060 | `python tests/faults.py" in after["Faults and attacks"]
    assert all(after[name].strip() == before[name].strip() for name in BY_HAND)
    others = set(after) - {"The built-in sample", "Faults and attacks"} - BY_HAND
    changed = {name for name in others if after[name].strip() != before[name].strip()}
    assert changed == (others if real else set())
    if real:
        assert "| best | 1.000 | 1.000 | 1.000 | 1.000 |" in after["Flickr8k, by protocol"]
        assert "| ridge | **0.250** | 0.200 to 0.300 | - | 0.500 | 7 | 3 | time | 1,234 |" in (
            after["Flickr8k, every recipe in equal time"])
        index = json.loads((copy/"nbs"/"index.ipynb").read_text("utf-8"))
        assert any("| best | **0.701** |" in "".join(cell["source"]) for cell in index["cells"])

def test_readme_has_a_table_of_eight_rows_at_most():
    "Its figures are those of RESULTS.md."
    readme = (ROOT/"README.md").read_text("utf-8")
    table = re.search(r"\| model or blend .*\n\|[-| ]+\n((?:\|.*\n)+)", readme)[1].replace("**", "").splitlines()
    assert 0 < len(table) <= 8 and len(readme.splitlines()) <= 140
    parts = parts_of((ROOT/"RESULTS.md").read_text("utf-8").replace("**", ""))
    for row in table:
        name, real, wide, sample, narrow = (cell.strip() for cell in row.strip("|").split("|"))
        assert re.search(rf"^\| {name} \|.*\| {real} \| {wide} \|", parts["Flickr8k"], re.MULTILINE)
        assert re.search(rf"^\| {name} \|.*\| {sample} \| {narrow} \|", parts["The built-in sample"], re.MULTILINE)
