"The console command: a wrong flag ends in one paragraph before anything starts, and a run tells what it does."
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, run

HEAVY = ["torch", "pandas", "sklearn", "papermill", "optuna", "voila"]
LATENTKIT = sys.executable, "-m", "latentkit"

def latentkit(*words: str, **options):
    "The finished command."
    return run(*LATENTKIT, *words, **options)

@pytest.fixture(scope="module")
def places(tmp_path_factory):
    "Names of folders and ports for the wrong flags, as `str.format` takes them."
    folder = tmp_path_factory.mktemp("places")
    (folder/"empty").mkdir()
    (folder/"flickr8k").mkdir()
    (folder/"a_file").write_text("not a folder")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield {"tmp": str(folder), "port": busy.getsockname()[1]}

WRONG = [ # command line, the user's value, what to do
    ("run --recipes ridge A-mpl", "'A-mpl'", 'Did you mean "A-mlp"?'),
    ("run --recipes ridge --blends bset", "'bset'", 'Did you mean "best"?'),
    ("run --data {tmp}/flikr8k", "{tmp}/flikr8k", 'Did you mean "flickr8k"?'),
    ("run --data {tmp}/nowhere-near", "no such folder", "Check the path"),
    ("run --data {tmp}/empty", "{tmp}/empty', a folder without train.npz", "Choose the folder"),
    ("run --epochs abc", "'abc'", "a whole number of at least 1"),
    ("run --epochs 0", "'0'", "a whole number of at least 1"),
    ("seeds --epochs -2", "'-2'", "a whole number of at least 1"),
    ("run --retrain maybe", "'maybe'", "one of auto, true, false"),
    ("run --out {tmp}/a_file", "{tmp}/a_file", "Choose another"),
    ("run --notebook {tmp}/none.ipynb", "{tmp}/none.ipynb", "Say where it is"),
    ("run --extra {tmp}/none.npz", "{tmp}/none.npz", "Check the path"),
    ("run --checkpoints {tmp}/flikr8k", "{tmp}/flikr8k', no such folder", 'Did you mean "flickr8k"?'),
    ("run --extra-weight 2", "'2'", "a number from 0.001 to 1"),
    ("run --views minilm={tmp}/empty", "minilm={tmp}/empty", "a folder with train.npz and test.npz"),
    ("run --variant-share 2", "'2'", "a number from 0 to 1"),
    ("compare --minutes 0", "'0'", "a number of at least"),
    ("compare --device cudda", "'cudda'", 'Did you mean "cuda"?'),
    ("search --space optimizer", "'optimizer'", 'Did you mean "optimiser"?'),
    ("search --trials 9999999 --out {tmp}/search", "9999999", "Ask for fewer"),
    ("search --method tree", "'tree'", "one of random, tpe"),
    ("search --recipe ridge --out {tmp}/search", "'ridge', a closed form", "Choose another, such as D-wide."),
    ("seeds --seeds 0 one", "'one'", "a whole number of at least 0"),
    ("inspect --out {tmp}/empty", "{tmp}/empty", "Run `latentkit run` first"),
    ("inspect --port {port}", "{port}", "Choose another, such as"),
    ("inspect --port eight", "'eight'", "a whole number from 1 to 65535"),
    ("run --epoch 3", "--epoch 3", 'Did you mean "--epochs"?'),
    ("search --storge postgresql://me:secret@host/name", "--storge postgresql://...;", 'Did you mean "--storage"?'),
    ("encode", "nothing", "see --help"),
    ("encode --captions {tmp}/a_fil", "{tmp}/a_fil", 'Did you mean "a_file"?'),
    ("encode --captions {tmp}/a_file --image-pooling max", "'max'", "one of mean, cls, pooler"),
    ("encode --view other --captions {tmp}/a_file --out {tmp}/view", "a_file, line 1", "Add the header line."),
    ("shard --rows many", "'many'", "a whole number of at least 1"),
    ("shard --dtype float64", "'float64'", "one of float16, float32"),
    ("kaggle --owner me", "--competition: found nothing", "see --help"),
    ("kaggle --competition a-b", "--owner: found nothing", "see --help"),
    ("kaggle --competition https://www.kaggle.com/c/a-b", "'https://www.kaggle.com/c/a-b'", "Take the last part"),
    ("kaggle --competition a-b --owner me --slug kit", "'kit'", "5 to 44 characters"),
    ("kaggle --competition a-b --submit {tmp}/a_fil", "{tmp}/a_fil", 'Did you mean "a_file"?'),
    ("kaggle --competition a-b --submit {tmp}/a_file", "{tmp}/a_file", "Choose submission/submission.csv"),
    ("sedes", "'sedes'", 'Did you mean "seeds"?'),
]

@pytest.mark.parametrize("line, value, remedy", WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_flag_is_told_in_one_paragraph(line, value, remedy, places):
    done = latentkit(*line.format(**places).split())
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert value.format(**places) in done.stderr and remedy.format(**places) in done.stderr

def test_errors_speak_make_under_make(places):
    options = dict(env=os.environ | {"LATENTKIT_MAKE": "1"})
    assert latentkit("run", "--data", "nowhere", **options).stderr.startswith("make run: DATA: found 'nowhere'")
    assert "Run `make run` first" in latentkit("inspect", "--out", f"{places['tmp']}/empty", **options).stderr

def test_make_passes_its_variables_on():
    given = ("RECIPES=ridge best", "BLENDS=none", "DATA=a b", "EPOCHS=3", "DEBUG=1", "EXTRA=a.npz b", "VIEWS=v=c",
             "CHECKPOINTS=d e")
    made = "make", "-o", ".venv/installed" # as if it were there: a test must not install anything
    line = run(*made, "-n", "run", *given).stdout
    for part in '--data "a b"', '--out "."', '--epochs "3"', "--recipes ridge best", "--blends none", "--debug", \
            "--extra a.npz b", "--views v=c", "--checkpoints d e":
        assert part in line
    line = run(*made, "-n", "encode", "IMAGES=a b", "CAPTIONS=c", "TEXT_LAYER=-2", "VIEW=v").stdout
    for part in '--images "a b"', '--captions "c"', '--text-layer "-2"', '--view "v"':
        assert part in line
    line = run(*made, "-n", "kaggle", "OWNER=me", "COMPETITION=a-b", "SUBMIT=a b.csv", "DATA=c").stdout
    for part in '--owner "me"', '--competition "a-b"', '--submit "a b.csv"', '--data "c"':
        assert part in line
    line = run(*made, "-n", "search", "STORAGE=postgresql://me@host/name", "TRIALS=9").stdout
    assert '--storage "postgresql://me@host/name"' in line and '--trials "9"' in line
    line = run(*made, "-n", "shard", "DATA=a b", "OUT=c", "ROWS=7", "CHECK=1").stdout
    for part in '--data "a b"', '--out "c"', '--rows "7"', "--check":
        assert part in line
    done = run(*made, "run", "DATA=nowhere", f"BIN={Path(sys.executable).parent}")
    assert done.stderr.startswith("make run: DATA: found 'nowhere'") and "Traceback" not in done.stderr

def test_debug_shows_the_traceback():
    assert "Traceback" in latentkit("run", "--epochs", "abc", "--debug").stderr

HOLD = "import sys; from latentkit.files import FolderLock; FolderLock(sys.argv[1]); print(flush=True); input()"

@pytest.fixture(scope="module")
def held(tmp_path_factory):
    "A folder that another process writes into, and that process."
    folder = tmp_path_factory.mktemp("held")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], **pipes)
    holder.stdout.readline()
    yield folder, holder
    holder.kill()
    holder.communicate()

@pytest.mark.parametrize("command", ["run", "compare", "seeds", "encode"])
def test_second_writer_is_told_who_writes(command, held):
    done = latentkit(command, "--out", str(held[0]))
    assert done.returncode == 2 and not done.stdout and done.stderr.count("\n") == 1
    assert f"run {held[1].pid} on host" in done.stderr and "has been writing here since 2" in done.stderr

@pytest.mark.parametrize("line, said", [("inspect", "Run `latentkit run` first"),
                                        ("search --recipe ridge", "a closed form")])
def test_readers_and_shared_work_do_not_wait(line, said, held):
    "Processes of a search share a folder, and the inspector reads."
    assert said in latentkit(*line.split(), "--out", str(held[0])).stderr

@pytest.mark.parametrize("line", ["run --recipes A-mpl", "search --recipe ridge", "inspect --out nowhere"])
def test_checks_import_nothing_heavy(line, tmp_path):
    code = (f"import sys; from latentkit.commands import main; main({line.split()}); "
            f"sys.exit(str([name for name in {HEAVY} if name in sys.modules]))")
    done = run(sys.executable, "-c", code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stderr.endswith("[]\n"), done.stderr

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "Its folder, and the same run twice: it trains, then it loads."
    from final import tiny_data # it loads torch, which most tests here do not need
    out = tmp_path_factory.mktemp("run")
    line = "run", "--recipes", "ridge", "--data", str(tiny_data(out/"data")), "--out", str(out)
    first, second = [latentkit(*line, env=os.environ | {"COLUMNS": width}) for width in ("50", "120")]
    return out, first, second

@pytest.mark.xdist_group("run") # all in one process, which makes the runs once
def test_run_tells_a_line_a_step(runs):
    _, first, second = runs
    for done in first, second:
        assert done.returncode == 0, done.stderr[-3000:]
        step = r"^\[1/1\] ridge \.\.\. \d+ s, MRR (0\.\d{3}); submission\.csv \1, of 1$"
        assert re.search(step, done.stdout, re.M), done.stdout
        assert "\r" not in done.stdout and "\x1b" not in done.stdout and not done.stderr

@pytest.mark.xdist_group("run")
def test_run_ends_with_a_table_and_what_to_submit(runs):
    out, first, second = runs
    for done, width in (first, 50), (second, 120):
        *_, header, row, empty, last = done.stdout.splitlines()
        assert header.split()[:2] == ["name", "MRR"] and row.split()[0] == "ridge" and not empty
        assert len(header) == len(row) <= width
        assert last.startswith(f"Submit {out}/submission/submission.csv. submission.csv is ridge, validation MRR 0.")
        assert last.endswith(f"See {out}/submission/final.html and {out}/submission/report.html")
    one, copy = ((out/"submission"/name).read_bytes() for name in ("submission_ridge.csv", "submission.csv"))
    assert one == copy
    assert len(second.stdout.splitlines()[-4]) > 50
    assert first.stdout.splitlines()[-3].split()[1] == second.stdout.splitlines()[-3].split()[1]

@pytest.mark.xdist_group("run")
def test_final_page_shows_results_first_and_loads_nothing(runs):
    submission = runs[0]/"submission"
    names = {path.name for path in submission.iterdir()}
    assert {"final.ipynb", "final.html", "report.html", "results.csv", "submission_ridge.csv"} <= names
    page = (submission/"final.html").read_text("utf-8")
    assert re.search(r"<h2>(.+?)</h2>", page)[1] == "Results"
    assert "<script" not in page and not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import""", page)
    assert not re.search("input_area|jp-CodeCell|load_or_fit|<h2>Flags", page)
    assert len(re.findall(r"\[1/1\] ridge", page)) == 1 and "ridge: loaded" not in page

def test_error_in_the_notebook_is_told_in_one_paragraph(tmp_path):
    done = latentkit("run", "--recipes", "ridge", "--retrain", "false", "--out", str(tmp_path))
    assert done.returncode == 2 and "ridge_best_model.pth: found no such checkpoint" in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stdout + done.stderr
