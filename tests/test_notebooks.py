"Every notebook runs from top to bottom, its inline tests with it, as `nbdev_test` runs them."
import os
import sys

import pytest
from project import FORKED, ROOT

def nbdev_test(notebook, said):
    "The command, with what it prints in a file."
    from nbdev.test import nbdev_test
    for stream in 1, 2:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    assert "imported" in sys.modules # before the fork; a module that is not found there is passed over in silence
    nbdev_test(str(notebook))

@pytest.mark.parametrize("notebook", sorted((ROOT/"nbs").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_runs(notebook, tmp_path):
    said = tmp_path/"said"
    process = FORKED.Process(target=nbdev_test, args=(notebook, said))
    process.start()
    process.join()
    assert process.exitcode == 0, said.read_text("utf-8")[-6000:]
