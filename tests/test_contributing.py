"What CONTRIBUTING.md shows is code that runs, and short."
import re

from project import ROOT

TEXT = (ROOT/"CONTRIBUTING.md").read_text("utf-8")

def test_examples_run_one_after_the_other(capsys):
    "A model and a loss, then a recipe of both that trains on the toy."
    names = {}
    for example in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(example, names)
    assert names["checkpoint"].recipe.model == "scaled"
    assert "mrr" in capsys.readouterr().out

def test_examples_have_at_most_ten_lines():
    for example in re.findall(r"```\w+\n(.*?)```", TEXT, re.DOTALL):
        assert len([line for line in example.splitlines() if line.strip()]) <= 10
