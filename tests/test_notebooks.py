"Every notebook runs from top to bottom, its inline tests with it, as `nbdev_test` runs them."
import pytest
from project import BIN, ROOT, output

@pytest.mark.parametrize("notebook", sorted((ROOT/"nbs").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_runs(notebook):
    output(BIN/"nbdev_test", "--path", notebook)
