"""Write RESULTS.md and the README's table, from what runs have left. A part whose input is missing stays as it is.

    .venv/bin/python bench/results.py --sample results/sample
    .venv/bin/python bench/results.py --sample results/sample --data ../shared/flickr8k --out results/flickr8k
    .venv/bin/python bench/results.py --faults results/faults.json

`make results DATA=../shared/flickr8k` runs everything first. A folder is the OUT of `make run`; the second one may also
hold what `make compare` has left. The README's table needs both folders.
"""
import argparse
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from latentkit.files import ROUND_TRIP, atomic
from latentkit.ensemble import read_latents
from latentkit.retrieval import leaderboard, scores

ROOT = Path(__file__).parents[1]
MARK = "<!-- made by bench/results.py -->"
ASKED = 'RECIPES="A-mlp A-rmlpa A-stitcher best" BLENDS="best best_words"'
IN_README = ["A-mlp", "A-rmlpa", "A-stitcher", "ensemble_3model", "best", "best_words", "ensemble_best",
             "ensemble_best_words"]


def markdown(rows: list[dict[str, str]]) -> str:
    "A table of text."
    lines = [list(rows[0]), ["---"]*len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(row: pd.Series, column: str) -> str:
    "A figure with three digits, or a dash where there is none."
    return f"{row[column]:.3f}" if column in row and pd.notna(row[column]) else "-"


def interval(row: pd.Series, which: str = "") -> str:
    return f"{row[which + 'low']:.3f} to {row[which + 'high']:.3f}"


def in_bold(rows: list[dict[str, str]], column: str) -> list[dict[str, str]]:
    "The same rows; the largest figure of a column is set in bold."
    top = max(row[column] for row in rows)
    return [row | {column: f"**{top}**"} if row[column] == top else row for row in rows]


def measured_by(command: str) -> str:
    "The line above a table: how, with which code and on what it was measured."
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"
    return f"`{command}`, commit {commit}, {os.cpu_count()} CPU cores."


def read_results(out: Path) -> pd.DataFrame:
    "What a run has left: one row a model or blend."
    return pd.read_csv(out/"submission"/"results.csv", index_col="name", **ROUND_TRIP)


def run_part(out: Path, command: str) -> str:
    "The table of a run."
    table = read_results(out)
    images = int(re.search(r"(\d+) images", table.protocol.iloc[0])[1])
    chance = (1/np.arange(1, images + 1)).mean()
    rows = [{
        "model or blend": name, "MRR, validation": digits(row, "MRR"), "95 %": interval(row),
        **{key: digits(row, key) for key in ("R@1", "R@5", "R@10")},
        "MRR, unseen": digits(row, "unseen MRR"), "95 %, unseen": interval(row, "unseen "),
        "seconds": f"{row['seconds trained']:.0f}", "parameters": f"{row.parameters:,.0f}",
    } for name, row in table.iterrows()]
    head = f"{measured_by(command)} Validation gallery of {images} images; chance {chance:.3f}."
    return f"{head}\n\n{markdown(in_bold(rows, 'MRR, unseen'))}"


def protocols_part(out: Path, command: str) -> str:
    "Validation MRR by protocol, from the prediction files of a run."
    gallery, groups = read_latents(out/"submission"/"gallery_data.npz", "groups")
    rows = []
    for name in read_results(out).index:
        query, group = read_latents(out/"submission"/f"val_{name}.npz", "groups")
        target = np.searchsorted(groups, group)
        mrr = {protocol: scores(query, gallery, target, protocol)["MRR"] for protocol in ("full", "1+99", "blocks")}
        mrr = {"leaderboard": leaderboard(query, gallery, target)["MRR"], **mrr}
        rows.append({"model or blend": name, **{protocol: f"{value:.3f}" for protocol, value in mrr.items()}})
    head = f"{measured_by(command)} The same validation captions; the protocols are not comparable with one another."
    return f"{head}\n\n{markdown(rows)}"


def compare_part(out: Path, command: str) -> str:
    "The table of a comparison, by MRR of unseen captions."
    table = pd.read_csv(out/"compare"/"compare.csv", index_col="recipe", **ROUND_TRIP)
    rows = [{
        "recipe": name, "MRR, unseen": digits(row, "MRR"), "95 %": interval(row), "MRR 1+99": digits(row, "MRR 1+99"),
        "MRR blocks": digits(row, "MRR blocks"), "seconds": f"{row.seconds:.0f}", "epochs": f"{row.epochs:.0f}",
        "stopped by": row["stopped by"], "parameters": f"{row.parameters:,.0f}",
    } for name, row in table.iterrows()]
    head = f"{measured_by(command)} Each recipe was chosen by full-gallery MRR on validation."
    return f"{head}\n\n{markdown(in_bold(rows, 'MRR, unseen'))}"


def faults_part(path: Path) -> str: # path: what tests/faults.py has written
    "The table of faults and attacks."
    rows = json.loads(path.read_text("utf-8"))
    shown = [{key: f"{row[key]:,}" if key == "cases" else f"`{row[key]}`" if key == "command" else row[key]
              for key in ("fault or attack", "a plain notebook", "latentkit", "cases", "command")} for row in rows]
    head = (f"{measured_by('.venv/bin/python tests/faults.py')} {sum(row['cases'] for row in rows):,} cases in all, "
            f"{sum(row['failed'] for row in rows)} rows failed. The plain notebook is measured too: it reads by "
            "`np.load(allow_pickle=True)` and `torch.load`, and writes by `to_csv` and `torch.save` in place.")
    return f"{head}\n\n{markdown(shown)}"


def new_parts(options: argparse.Namespace) -> dict[str, str]: # heading -> text
    "The parts whose input is there."
    parts = {}
    if options.sample:
        parts["The built-in sample"] = run_part(options.sample, f"make run {ASKED}")
    if options.out:
        name, command = Path(options.data).name.capitalize(), f"make run DATA={options.data} {ASKED}"
        parts[name] = run_part(options.out, command)
        parts[f"{name}, by protocol"] = protocols_part(options.out, command)
        if (options.out/"compare"/"compare.csv").is_file():
            command = f"make compare DATA={options.data}"
            parts[f"{name}, every recipe in equal time"] = compare_part(options.out, command)
    if options.faults:
        parts["Faults and attacks"] = faults_part(options.faults)
    return parts


def renewed(text: str, parts: dict[str, str]) -> str:
    "RESULTS.md with these parts in place of its own, in its own order; parts of other names come last."
    head, *old = re.split(r"^## ", text, flags=re.MULTILINE)
    kept = dict(part.split("\n", 1) for part in old) | parts
    return "\n\n".join([head.strip(), *(f"## {name}\n\n{part.strip()}" for name, part in kept.items())]) + "\n"


def readme_table(sample: pd.DataFrame, real: pd.DataFrame, name: str) -> str:
    "At most eight rows, of unseen captions."
    rows = [{
        "model or blend": model, f"MRR, {name}": digits(real.loc[model], "unseen MRR"),
        "95 %": interval(real.loc[model], "unseen "),
        "MRR, sample": digits(sample.loc[model], "unseen MRR"), "95 %, sample": interval(sample.loc[model], "unseen "),
    } for model in IN_README if model in real.index and model in sample.index]
    return f"{MARK}\n\n{markdown(in_bold(in_bold(rows, f'MRR, {name}'), 'MRR, sample'))}"


def put_into_index(table: str) -> None:
    "Replace the table in nbs/index.ipynb; `make readme` makes the README of it."
    path = ROOT/"nbs"/"index.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    cell = next(cell for cell in notebook["cells"] if "".join(cell["source"]).startswith(MARK))
    cell["source"] = table.splitlines(keepends=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sample", type=Path, metavar="OUT", help="of `make run` on the built-in sample")
    parser.add_argument("--data", metavar="FOLDER", help="the other data, such as ../shared/flickr8k")
    parser.add_argument("--out", type=Path, metavar="OUT", help="of `make run` and `make compare` on these data")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="what `tests/faults.py --json` has written")
    options = parser.parse_args()
    if bool(options.data) != bool(options.out):
        parser.error("--data and --out belong together")
    page = ROOT/"RESULTS.md"
    text = renewed(page.read_text("utf-8"), new_parts(options))
    with atomic(page) as temporary:
        temporary.write_text(text, "utf-8")
    if options.sample and options.out:
        name = Path(options.data).name.capitalize()
        put_into_index(readme_table(read_results(options.sample), read_results(options.out), name))


if __name__ == "__main__":
    main()
