"""What a plain notebook of this kind does with the same faults: np.load with pickles, torch.load, to_csv in place.

Each function runs the plain code in a folder of its own, in a process of its own, and says what came of it.
"""
import ast
import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fuzz import limit_memory, mutate
from PIL import Image

class Evil:
    "A pickle that runs code when it is loaded."
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)

def apart(function: Callable, *given) -> str:
    "What a function says, called in a forked process with a gigabyte; or the error that it ends in."
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            limit_memory()
            signal.alarm(120)
            os.write(theirs, function(*given).encode())
        except BaseException as error:
            os.write(theirs, f"a raw `{type(error).__name__}`".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return said or f"the process dies (wait status {status})"

def shares(outcomes: list[str]) -> str:
    "Each outcome with its number, the most frequent first."
    return "; ".join(f"{n:,} of {len(outcomes):,} {what}" for what, n in Counter(outcomes).most_common(4))

def read_all(data: bytes) -> tuple:
    "All arrays of an npz, as notebooks read it."
    with np.load(io.BytesIO(data), allow_pickle=True) as archive:
        return tuple((key, archive[key].tobytes()) for key in sorted(archive))

def small_npz() -> bytes:
    "A file in the competition's manner."
    buffer, rng = io.BytesIO(), np.random.default_rng(0)
    np.savez_compressed(buffer, **{"captions/embeddings": rng.normal(size=(6, 3)).astype("f4"), "captions/ids":
                                   np.arange(6), "images/embeddings": rng.normal(size=(3, 2)).astype("f4")})
    return buffer.getvalue()

def pickle_in_npz(folder: Path) -> str:
    np.savez(folder/"train.npz", ids=np.array([Evil(folder/"mark")], dtype=object))
    read_all((folder/"train.npz").read_bytes())
    return "`np.load(allow_pickle=True)` runs the code in it" if (folder/"mark").exists() else "nothing"

def pickle_in_checkpoint(folder: Path) -> str:
    (folder/"model.pth").write_bytes(pickle.dumps(Evil(folder/"mark")))
    torch.save({"state": Evil(folder/"mark")}, folder/"model.pth")
    torch.load(folder/"model.pth", weights_only=False)
    return "`torch.load(weights_only=False)` runs the code in it" if (folder/"mark").exists() else "nothing"

def flips(folder: Path, count: int) -> str:
    "Single bits of a checkpoint of 13 MB."
    state, rng, outcomes = {"weight": torch.randn(1300, 2500)}, np.random.default_rng(0), []
    torch.save(state, folder/"model.pth")
    data = bytearray((folder/"model.pth").read_bytes())
    for bit in rng.integers(0, 8*len(data), count).tolist():
        data[bit//8] ^= 1 << bit % 8
        (folder/"model.pth").write_bytes(data)
        try:
            same = torch.equal(torch.load(folder/"model.pth")["weight"], state["weight"])
            outcomes.append("load the same" if same else "load other weights, silently")
        except Exception:
            outcomes.append("end in a raw error")
        data[bit//8] ^= 1 << bit % 8
    return shares(outcomes)

def outcome_of(read: Callable, data: bytes, expected) -> str:
    "What a plain reader makes of damaged bytes."
    try:
        return "read the same" if read(data) == expected else "read something else, silently"
    except Exception:
        return "end in a raw error"

def damaged(read: Callable, whole: bytes, count: int) -> str:
    expected, rng = read(whole), np.random.default_rng(0)
    return shares([outcome_of(read, mutate(whole, rng), expected) for _ in range(count)])

def damaged_npz(folder: Path, count: int) -> str:
    return damaged(read_all, small_npz(), count)

def read_rows(data: bytes) -> list:
    "A submission, as notebooks check theirs."
    table = pd.read_csv(io.BytesIO(data))
    return [table.id.tolist(), [ast.literal_eval(row) for row in table.embedding]]

def damaged_submissions(folder: Path, count: int) -> str:
    rows = [[float(x) for x in row] for row in np.random.default_rng(0).normal(size=(3, 4)).round(4)]
    text = "id,embedding\n" + "".join(f'{n},"{json.dumps(row)}"\n' for n, row in enumerate(rows))
    return damaged(read_rows, text.encode(), count)

def damaged_captions(folder: Path, count: int) -> str:
    text = "id,image,caption\n" + "".join(f'{n},{n // 5}.jpg,"a dog, number {n}"\n' for n in range(10))
    def read(data):
        return pd.read_csv(io.BytesIO(data)).values.tolist()
    return damaged(read, text.encode(), count)

def damaged_settings(folder: Path, count: int) -> str:
    text = json.dumps({"recipe": "best", "lr": 0.001, "seeds": [0, 1, 2], "best": {"mrr": 0.51, "epoch": 7}})
    return damaged(json.loads, text.encode(), count)

def tampered(folder: Path) -> str:
    "Weights that are NaN, infinite, of another model or dtype, under their right names."
    model, outcomes = torch.nn.Linear(3, 2), []
    for change in (torch.full((2, 3), float("nan")), torch.full((2, 3), float("inf")), torch.ones(2, 3).to_sparse(),
                   torch.ones(2, 3, dtype=torch.complex64), torch.ones(2, 3, dtype=torch.float64)*1e300,
                   torch.ones(5, 3), torch.zeros(1).expand(10**6, 10**6)):
        try:
            torch.save(model.state_dict() | {"weight": change}, folder/"model.pth")
            model.load_state_dict(torch.load(folder/"model.pth"))
            outcomes.append("load, silently")
        except Exception:
            outcomes.append("end in a raw error")
    return shares(outcomes)

def damaged_pictures(folder: Path, count: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)).save(buffer, "PNG")
    def read(data):
        return Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    return damaged(read, buffer.getvalue(), count)

def outside(folder: Path) -> str:
    "A picture's name as train.npz has it."
    (folder/"Images").mkdir()
    Image.new("RGB", (8, 8)).save(folder/"secret.png")
    names = "../secret.png", str(folder/"secret.png")
    found = [Image.open(folder/"Images"/name).size for name in names]
    return shares(["are read from outside the folder" for _ in found])

def bomb(folder: Path) -> str:
    "10 MB that unpack to 4 GB, in a gigabyte of memory."
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"shape": (1 << 30,), "fortran_order": False, "descr": "<f4"})
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    body = packer.compress(head.getvalue()) + b"".join(packer.compress(zeros) for _ in range(4096)) + packer.flush()
    size = len(head.getvalue()) + (4 << 30)
    write_deflated(folder/"train.npz", "text.npy", body, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.load(folder/"train.npz")["text"]
    return f"takes {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)/1e6:.1f} GB"

def write_deflated(path: Path, name: str, body: bytes, size: int) -> None:
    "A zip of one member that is packed already; the checksum is left wrong: it counts at the end only."
    info = zipfile.ZipInfo(name)
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        archive.writestr(info, body)
        archive.filelist[0].compress_type, archive.filelist[0].file_size = zipfile.ZIP_DEFLATED, size
    data = bytearray(path.read_bytes())
    data[8:10] = (8).to_bytes(2, "little")
    path.write_bytes(data)

TO_CSV = """
import sys
import numpy as np
import pandas as pd
latents = np.random.default_rng(0).random((300, 256))
rows = pd.DataFrame({"id": range(300), "embedding": [str(row.tolist()) for row in latents]})
print(flush=True)
for _ in range(10_000): rows.to_csv(sys.argv[1], index=False)
"""

def kills(folder: Path, count: int) -> str:
    "Kills while a submission is written, again and again over the old one."
    path, rng, outcomes = folder/"submission.csv", np.random.default_rng(0), []
    for _ in range(count):
        run = subprocess.Popen([sys.executable, "-c", TO_CSV, path], stdout=subprocess.PIPE)
        run.stdout.readline()
        time.sleep(rng.uniform(.05, .3))
        run.kill()
        run.communicate()
        whole = path.is_file() and path.read_bytes().count(b"\n") == 301
        outcomes.append("leave it whole" if whole else "leave half a submission under its final name")
    return shares(outcomes)

def full_disk(folder: Path) -> str:
    "A submission that does not fit."
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        pd.DataFrame({"x": range(10_000)}).to_csv(folder/"submission.csv", index=False)
    except OSError:
        pass
    left = (folder/"submission.csv").stat().st_size if (folder/"submission.csv").exists() else 0
    return f"a raw `OSError`, and {left:,} bytes of half a submission" if left else "a raw `OSError`"

def closed_folder(folder: Path) -> str:
    "An output that turns out to be closed, after the training."
    (folder/"out").mkdir()
    os.chmod(folder, 0o755)
    os.chmod(folder/"out", 0o555)
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        torch.save({"trained": torch.zeros(3)}, folder/"out"/"model.pth")
    except Exception as error:
        return f"a raw `{type(error).__name__}` after the training, which is lost"
    return "nothing"

TWICE = "import sys, pandas as pd\nfor _ in range(60): pd.DataFrame({'x': [sys.argv[2]]*5000}).to_csv(sys.argv[1])\n"

def two_writers(folder: Path) -> str:
    "Two runs that write the same files; one of them is read now and then."
    path, outcomes = folder/"results.csv", []
    runs = [subprocess.Popen([sys.executable, "-c", TWICE, path, text]) for text in ("one", "the other")]
    while any(run.poll() is None for run in runs):
        found = path.read_bytes() if path.exists() else b""
        mixed = b",one\n" in found and b",the other\n" in found
        whole = found.count(b"\n") == 5001
        if found:
            outcomes.append("mixed" if mixed else "whole" if whole else "half")
    return "looks at a file: " + shares(outcomes)

def replaced(folder: Path, count: int) -> str:
    "The file is replaced between the reading of its captions and of its images."
    outcomes = []
    for n in range(count):
        for name, value in ("a", 0.), ("b", 1.):
            np.savez(folder/f"{name}.npz", text=np.full(3, value), image=np.full(3, value))
        text = np.load(folder/"a.npz")["text"]
        os.replace(folder/"b.npz", folder/"a.npz")
        image = np.load(folder/"a.npz")["image"]
        outcomes.append("mix two sources, silently" if (text != image).any() else "one source")
    return shares(outcomes)

def degenerate(folder: Path) -> str:
    "Least squares, whitening and cosine, the plain way."
    np.seterr(all="ignore")
    rng, outcomes = np.random.default_rng(0), []
    latents = rng.normal(size=(20, 4)).astype("f4")
    kinds = {"constant": np.ones_like(latents), "zero": np.zeros_like(latents), "huge": latents*np.float32(1e30),
             "repeated": latents[[0]*20], "one column twice": latents[:, [0, 0, 1, 2]]}
    for x in kinds.values():
        for solve in (lambda x: np.linalg.inv(x.T @ x) @ x.T @ latents, lambda x: np.linalg.cholesky(np.cov(x.T)),
                      lambda x: x/np.linalg.norm(x, axis=1, keepdims=True)):
            try:
                outcomes.append("give numbers" if np.isfinite(solve(x)).all() else "give NaN or infinity, silently")
            except np.linalg.LinAlgError:
                outcomes.append("end in a raw `LinAlgError`")
    return shares(outcomes)

def absurd_settings(folder: Path) -> str:
    "A plain training loop with settings that cannot be meant."
    outcomes = []
    for setting in ({"lr": float("nan")}, {"lr": -1.}, {"lr": 1e30}, {"weight_decay": float("nan")}, {"epochs": 1.5},
                    {"epochs": -1}, {"dropout": 2.}, {"file": "../model.pth"}):
        try:
            given = {"lr": .01, "weight_decay": 0., "epochs": 3, "dropout": .1, "file": "model.pth"} | setting
            model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(given["dropout"]))
            optimiser = torch.optim.AdamW(model.parameters(), lr=given["lr"], weight_decay=given["weight_decay"])
            for _ in range(given["epochs"]):
                optimiser.zero_grad()
                model(torch.ones(5, 3)).square().mean().backward()
                optimiser.step()
            (folder/"out").mkdir(exist_ok=True)
            torch.save(model.state_dict(), folder/"out"/given["file"])
            outcomes.append("are taken, silently")
        except Exception:
            outcomes.append("end in a raw error of a library")
    return shares(outcomes)

def interrupted(folder: Path) -> str:
    "Ctrl-C in the last epoch."
    model = torch.nn.Linear(3, 3)
    try:
        for epoch in range(5):
            model(torch.ones(5, 3)).square().mean().backward()
            if epoch == 4:
                raise KeyboardInterrupt
        torch.save(model.state_dict(), folder/"model.pth")
    except KeyboardInterrupt:
        traceback.format_exc()
    return "a raw `KeyboardInterrupt`, and nothing is kept" if not (folder/"model.pth").exists() else "kept"
