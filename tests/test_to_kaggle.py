"`latentkit kaggle` against a stand-in for Kaggle's client, and its folder by the client's own checks."
import inspect
import json
import os
import re
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from project import ROOT, run

STAND_IN = '''
import json, os, sys, zipfile
from types import SimpleNamespace

class HTTPError(OSError):
    response = SimpleNamespace(status_code=int(os.environ.get("ANSWER", "200")))

class KaggleApi:
    def authenticate(self):
        print("Could not find kaggle.json. Make sure that it is in ~/.kaggle")
        if not os.environ.get("KAGGLE_API_TOKEN"):
            sys.exit(1)

    def answer(self):
        if HTTPError.response.status_code != 200:
            raise HTTPError(f"{HTTPError.response.status_code} Client Error\\nand more")

    def competition_download_files(self, competition, path=None, force=False, quiet=True, unzip=False):
        self.answer()
        with zipfile.ZipFile(f"{path}/{competition}.zip", "w") as packed:
            for name in sorted(os.listdir(os.environ["FILES"])):
                packed.write(f"{os.environ['FILES']}/{name}", f"data/{name}")

    def competition_submit(self, file_name, message, competition, quiet=False, sandbox=False):
        self.answer()
        with open(os.environ["SENT"], "w") as file:
            json.dump([os.path.basename(file_name), message, competition], file)
        return SimpleNamespace(message=os.environ.get("SAYS", "Successfully submitted"))
'''

pytestmark = pytest.mark.xdist_group("kaggle") # what its tests share is made once

@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with the stand-in, data, and what a run leaves."
    import final # it loads torch
    from latentkit.ensemble import write_submission
    place = tmp_path_factory.mktemp("to-kaggle")
    (api := place/"client"/"kaggle"/"api").mkdir(parents=True)
    (api/"kaggle_api_extended.py").write_text(STAND_IN)
    for folder in api, api.parent:
        (folder/"__init__.py").touch()
    final.tiny_data(place/"data")
    rng = np.random.default_rng(0)
    for name in "ridge", "best", "shuffled":
        ids = np.arange(10)[::-1 if name == "shuffled" else 1]
        write_submission(place/"submission"/f"submission_{name}.csv", ids, rng.normal(size=(10, 16)))
    (place/"submission"/"submission.csv").write_bytes((place/"submission"/"submission_best.csv").read_bytes())
    (place/"submission"/"submission_alien.csv").write_text("id,embedding\n")
    (place/"submission"/"results.csv").write_text("name,MRR\nridge,0.4\nbest,0.50213\nshuffled,0.1\n")
    (place/"checkpoints").mkdir()
    for name in "best_model.pth", "ridge.pth", "best_model.unfinished", ".writing-1-a-12345678.pth":
        (place/"checkpoints"/name).write_bytes(name.encode())
    return place

def kaggle(place: Path, line: str, **more: str):
    "The finished command, with the stand-in as the client."
    env = os.environ | {"PYTHONPATH": f"{place/'client'}:{ROOT}", "FILES": str(place/"data"),
                        "SENT": str(place/"sent.json"), "KAGGLE_API_TOKEN": "token"} | more
    (place/"sent.json").unlink(missing_ok=True)
    words = line.format(place=place).split()
    return run(sys.executable, "-m", "latentkit", "kaggle", "--competition", "a-race", *words, cwd=place, env=env)

@pytest.fixture(scope="module")
def written(place):
    "The folder that was written for the client."
    done = kaggle(place, "--owner me --slug my-kit")
    assert done.returncode == 0 and "with 2 checkpoints" in done.stdout, done.stderr
    for command in "datasets create -p", "kernels push -p":
        assert re.search(f'kaggle {command} "to-kaggle/', done.stdout)
    return place/"to-kaggle"

def facts_of(path: Path) -> dict:
    "What a metadata file says."
    return json.loads(path.read_text("utf-8"))

def test_folder_has_all_that_is_uploaded(written, place):
    wheel, = written.glob("dataset/*.whl")
    files = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert files == {".made-by-latentkit", f"dataset/{wheel.name}", "dataset/checkpoints.zip",
                     "dataset/dataset-metadata.json", "kernel/05_final.ipynb", "kernel/kernel-metadata.json"}
    packed = zipfile.ZipFile(written/"dataset"/"checkpoints.zip")
    assert {name: packed.read(name) for name in packed.namelist()} == {
        name: (place/"checkpoints"/name).read_bytes() for name in ("best_model.pth", "ridge.pth")}
    assert (written/"kernel"/"05_final.ipynb").read_bytes() == (ROOT/"nbs"/"05_final.ipynb").read_bytes()

def test_metadata_are_within_kaggles_limits(written):
    dataset = facts_of(written/"dataset"/"dataset-metadata.json")
    kernel = facts_of(written/"kernel"/"kernel-metadata.json")
    for facts in dataset, kernel:
        owner, slug = facts["id"].split("/")
        assert owner == "me" and slug == facts["title"].lower().replace(" ", "-")
        assert 6 <= len(slug) == len(facts["title"]) <= 50
    assert len(dataset["licenses"]) == 1
    assert kernel["kernel_sources"] == [kernel["id"]] and kernel["dataset_sources"] == [dataset["id"]]
    assert kernel["competition_sources"] == ["a-race"] and kernel["machine_shape"] == "NvidiaTeslaT4"
    assert kernel["enable_internet"] is False and kernel["enable_gpu"] is True and kernel["is_private"] is True
    notebook = facts_of(written/"kernel"/kernel["code_file"])
    assert notebook["metadata"]["kernelspec"]["name"] == "python3" # Kaggle runs none without

def test_wheel_needs_nothing_that_kaggle_lacks(written):
    wheel, = written.glob("dataset/*.whl")
    packed = zipfile.ZipFile(wheel)
    metadata = packed.read(next(name for name in packed.namelist() if name.endswith("METADATA"))).decode()
    needed = {re.match(r"[\w-]+", line)[0].lower()
              for line in re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE) if "extra ==" not in line}
    image = (ROOT/".github"/"kaggle-image.txt").read_text("utf-8")
    assert needed and needed <= {name.lower() for name in re.findall(r"^([\w-]+)==", image, re.MULTILINE)}

@pytest.fixture
def client(monkeypatch):
    "The real client, which sends nothing: what it would send is in `sent`."
    api = pytest.importorskip("kaggle.api.kaggle_api_extended", reason="the extra kaggle is not installed")
    client, sent = api.KaggleApi(), []
    class Kaggle:
        "What the client talks to."
        def __enter__(self):
            return self
        def __exit__(self, *error):
            pass
        def __getattr__(self, name):
            return self
        def __call__(self, request):
            sent.append(request)
            return SimpleNamespace(error="", status="ok")
    monkeypatch.setattr(client, "build_kaggle_client", Kaggle)
    monkeypatch.setattr(client, "config_values", {"username": "me"})
    client.sent = sent
    return client

def test_client_takes_the_notebook(written, client, capsys):
    client.kernels_push(str(written/"kernel"))
    request, = client.sent
    assert request.slug == "me/my-kit" and not request.enable_internet and request.machine_shape == "NvidiaTeslaT4"
    assert list(request.kernel_data_sources) == ["me/my-kit"] and not capsys.readouterr().out # no warning

def test_client_takes_the_dataset(written, client, monkeypatch):
    from requests import HTTPError
    def absent(*_):
        raise HTTPError("404")
    def keep(request, resources, folder, *_):
        client.uploaded = [name for name in os.listdir(folder) if os.path.isfile(f"{folder}/{name}")]
    monkeypatch.setattr(client, "dataset_status", absent)
    monkeypatch.setattr(client, "upload_files", keep)
    client.dataset_create_new(str(written/"dataset"), quiet=True)
    assert client.sent[-1].slug == "my-kit-files" and client.sent[-1].is_private
    assert sorted(client.uploaded) == sorted(os.listdir(written/"dataset")) # it leaves out folders

def test_stand_in_has_the_clients_interface(client):
    space = {}
    exec(STAND_IN, space)
    for name in "competition_download_files", "competition_submit", "authenticate":
        ours = inspect.signature(getattr(space["KaggleApi"], name)).parameters
        assert list(ours) == list(inspect.signature(getattr(type(client), name)).parameters)

def test_data_are_downloaded_whole(place):
    done = kaggle(place, "--download {place}/new/race")
    assert done.returncode == 0, done.stderr
    assert f"train: {place}/new/race/data/train.npz\ntest: {place}/new/race/data/test.clean.npz" in done.stdout
    assert (place/"new"/"race"/"data"/"train.npz").read_bytes() == (place/"data"/"train.npz").read_bytes()
    assert not list((place/"new").rglob("*.zip"))

@pytest.mark.parametrize("file", ["submission.csv", "submission_best.csv"])
def test_submission_says_what_it_is(file, place):
    from latentkit import __version__
    done = kaggle(place, f"--submit {{place}}/submission/{file} --data {{place}}/data")
    assert done.returncode == 0 and "10 rows x 16 dims. Kaggle: Successfully submitted" in done.stdout, done.stderr
    message = f"latentkit {__version__}: best, validation MRR 0.5021"
    assert json.loads((place/"sent.json").read_text()) == [file, message, "a-race"] and message in done.stdout

SUBMIT = "--submit {place}/submission/submission.csv --data {place}/data"
WRONG = [ # flags, the stand-in's mood, what is said
    ("--download {place}/wrong", {"KAGGLE_API_TOKEN": ""}, "Kaggle, credentials: found none.*kaggle.com/settings"),
    (SUBMIT, {"KAGGLE_API_TOKEN": ""}, "Kaggle, credentials: found none.*kaggle.com/settings"),
    ("--download {place}/wrong", {"ANSWER": "403"}, "competition a-race: found .*403 Client Error;.*accept its rules"),
    ("--download {place}/wrong", {"ANSWER": "404"}, "404 Client Error;.*last part of the competition's address"),
    ("--download {place}/data", {}, "/data: found something that is there already"),
    (SUBMIT, {"ANSWER": "401"}, "competition a-race: found .*401.*new API token"),
    (SUBMIT, {"ANSWER": "500"}, "competition a-race: found .*500.*try again"),
    (SUBMIT, {"SAYS": "Could not submit to competition"}, "submission.csv: found .*Could not submit"),
    (SUBMIT.replace("submission.csv", "submission_shuffled.csv"), {}, "submission_shuffled.csv, .*found .*id"),
    (SUBMIT.replace("submission.csv", "submission_alien.csv"), {}, "neither submission.json nor results.csv"),
    (SUBMIT.replace("{place}/data", "sample"), {}, "data: found none, or the sample"),
]

@pytest.mark.parametrize("line, mood, said", WRONG, ids=[f"{line[2:10]}-{said[-20:]}" for line, _, said in WRONG])
def test_what_is_wrong_is_named(line, mood, said, place):
    done = kaggle(place, line, **mood)
    assert done.returncode == 2 and re.search(said, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout and "Traceback" not in done.stderr
    assert not (place/"wrong").exists() and not list(place.glob(".writing-*"))
    assert (place/"sent.json").exists() == ("SAYS" in mood)

def test_missing_client_is_named(place):
    hidden = ("import sys; sys.modules['kaggle'] = None; from latentkit.commands import main; "
              "sys.exit(main(sys.argv[1:]))")
    line = ["kaggle", "--competition", "a-race", "--download", f"{place}/wrong"]
    done = run(sys.executable, "-c", hidden, *line, cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and "no package kaggle" in done.stderr and "latentkit[kaggle]" in done.stderr
