"The code is clean by ruff and mypy, and the house keeps to its figures."
import sys

from house import ROOT, House, measure, missed, shared_lines, sentences
from project import output

def test_ruff_finds_nothing():
    output(sys.executable, "-m", "ruff", "check", "--output-format", "concise", ".")

def test_mypy_finds_nothing():
    output(sys.executable, "-m", "mypy")

def test_figures_meet_their_targets():
    figures, places = measure(House(ROOT))
    assert not {name: (figures[name], places.get(name, [])[:20]) for name in missed(figures)}

def test_only_a_jump_follows_a_colon():
    "`return`, `raise`, `continue` and `break` may share the line of an `if`; nothing else may, and no function's body."
    assert shared_lines("def f(x):\n    if x: return 1\n    for y in x:\n        if y: continue\n") == []
    assert shared_lines("if x: y = 1\nfor a in b: print(a)\ntry: f()\nexcept E: raise\n") == [1, 2, 3]
    assert shared_lines("def f(x): return x\nclass A: b = 1\na = 1; b = 2\n") == [1, 2, 3]

def test_sentences_are_prose_alone():
    text = ("# Title\n\nOne thing, e.g. `a.b`. *Two* things\n\n| a | b |\n\n- an item\n- [a link](x.y) more\n\n"
            "```\ncode. Here\n```")
    assert list(sentences(text)) == ["One thing, e.g Code.", "*Two* things", "an item", "a link more"]
