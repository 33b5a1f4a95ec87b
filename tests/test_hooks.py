"The commit hook exports and cleans notebooks, and stops a commit that would leave them out."
import json
import os

from project import BIN, run

def test_commit_stops_once_and_then_passes(copy):
    "A notebook changed by hand: the hook exports it and stops; once that is added, the commit goes through."
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c",
                        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c"}
    def git(*words):
        return run("git", *words, cwd=copy, env=env)
    git("init", "-q")
    git("add", "-A")
    assert git("commit", "-qm", "All", "--no-verify").returncode == 0
    git("config", "core.hooksPath", "hooks")

    path = copy/"nbs"/"00_data.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    exported = next(cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("#| export"))
    exported["source"] += ["\nANSWER = 42"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    stopped = git("commit", "-qam", "Answer")
    assert stopped.returncode and "latentkit/data.py" in stopped.stdout + stopped.stderr
    assert "ANSWER = 42" in (copy/"latentkit"/"data.py").read_text("utf-8")
    assert git("commit", "-qam", "Answer").returncode == 0
    assert "latentkit/data.py" in git("show", "--stat", "--oneline").stdout
