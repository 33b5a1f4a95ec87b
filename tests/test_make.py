"Make says in a sentence what is missing, and what to install."
import sys

import pytest
from project import run

OLD = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1 && exit; exit 1\n'
BARE = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac; exec {python} "$@"\n'

@pytest.mark.parametrize(
    "script, sentence", [(OLD, "needs Python 3.10 or newer"), (BARE, "lacks venv")], ids=["old", "bare"])
def test_unfit_python_is_named(script, sentence, copy, tmp_path):
    python = tmp_path/"python"
    python.write_text(script.format(python=sys.executable))
    python.chmod(0o755)
    done = run("make", "test", f"PYTHON={python}", cwd=copy)
    assert done.returncode and sentence in done.stdout

def test_absent_python_is_named(copy):
    done = run("make", "run", "PYTHON=no-such-python", cwd=copy)
    assert done.returncode and "No 'no-such-python' here" in done.stdout
    assert not (copy/".venv").exists()

def test_help_lists_every_target(copy):
    "Each target that is a command has a line of help."
    makefile = (copy/"Makefile").read_text("utf-8")
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    lines = run("make", "--no-print-directory", "help", cwd=copy).stdout.splitlines()
    listed = {line.split()[0] for line in lines if line.strip()}
    assert set(targets) == listed
