"Fuzz the command line, and the file that says who is writing."
import json
from pathlib import Path

from fuzzing import Bytes, Structure
from hypothesis import strategies as st
from latentkit.commands import COMMANDS, FLAGS, InputError, parse
from latentkit.files import WRITER, writer_of

WORDS = st.one_of(st.sampled_from([f"--{flag}" for flag in [*FLAGS, "help-me"]]), st.sampled_from([*COMMANDS, "", "-"]),
                  st.sampled_from(["0", "-1", "1e9", "nan", "inf", "1_0", "٣", "auto", "best", "ridge", "cuda:99"]),
                  st.text(max_size=8).filter(lambda text: not text.startswith("-h")))

def make_writer(folder: Path) -> Path:
    "The file of a writer."
    (folder/WRITER).write_text(json.dumps({"pid": 4711, "host": "here", "since": "2026-11-24 10:00:00"}))
    return folder/WRITER

def who_writes(path: Path) -> str:
    "Who is writing into the file's folder."
    said = writer_of(path.parent)
    assert isinstance(said, str) and len(said) < 10_000
    return said

def check_line(words: list[str], folder: Path) -> None:
    "A command line is refused in words, or all its values are of the right kind."
    options = parse([*words, "--out", str(folder)])
    assert options.command in COMMANDS
    if getattr(options, "epochs", None) is not None:
        assert type(options.epochs) is int and options.epochs >= 1
    if getattr(options, "minutes", None) is not None:
        assert 0 < options.minutes

def no_minutes_at_all(folder: Path) -> None:
    "NaN is not a number of minutes."
    for text in "nan", "-1", "0":
        try:
            parse(["compare", "--minutes", text, "--out", str(folder)])
        except InputError as error:
            assert "minutes" in str(error)
        else:
            raise AssertionError(text)

BYTES = {"writer.json": Bytes(make_writer, who_writes, exact=False)}
STRUCTURES = {"command line": Structure(st.tuples(st.sampled_from(list(COMMANDS)), st.lists(WORDS, max_size=5)).map(
    lambda drawn: [drawn[0], *drawn[1]]), check_line)}
PAST = {"minutes that are not a number": no_minutes_at_all}
