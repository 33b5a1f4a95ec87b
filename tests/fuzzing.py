"What a fuzz file holds: whole files whose bytes are damaged, and structures that files and arguments are built from."
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis.strategies import SearchStrategy

@dataclass
class Bytes:
    "A whole file, made once, and how it is read; after damage: `InputError`, or if `exact` the same value, else any."
    make: Callable[[Path], Path]   # folder -> the file in it
    read: Callable[[Path], object] # the file -> a value that can be compared
    exact: bool

@dataclass
class Structure:
    "Plain values, and a check that builds an input of one: it asserts `InputError` or a right answer."
    strategy: SearchStrategy
    check: Callable[[object, Path], None] # value, an empty folder
