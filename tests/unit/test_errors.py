"""Errors form one tree, and the drawing of it in ``milepost.errors`` is the tree."""

from __future__ import annotations

import inspect
import re

import milepost
from milepost import errors

CLASSES = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str, str | None]]:
    """Return what the docstring draws: each error's parent, and the built-in that it is too."""
    parents: dict[str, tuple[str, str | None]] = {}
    above: list[tuple[int, str]] = []
    for line in inspect.getdoc(errors).splitlines():
        found = re.match(r"^([\s│├└─]*)([A-Z]\w+)(?:\s+\(also (\w+)\))?(?:\s{2,}|$)", line)
        if found is None or found[2] not in CLASSES:
            continue
        depth = len(found[1])
        above = [(d, name) for d, name in above if d < depth]
        parents[found[2]] = (above[-1][1] if above else "Exception", found[3])
        above.append((depth, found[2]))
    return parents


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every error stands in the drawing, under the class that it is derived from, with the built-in it is too."""
    actual = {}
    for name, cls in CLASSES.items():
        first, *others = cls.__bases__
        actual[name] = (first.__name__, others[0].__name__ if others else None)
    assert drawn() == actual


def test_every_error_is_a_milepost_error_and_public() -> None:
    """``except MilepostError`` catches whatever milepost raises on purpose, and each class can be imported."""
    for name, cls in CLASSES.items():
        assert issubclass(cls, milepost.MilepostError)
        assert getattr(milepost, name) is cls


def test_every_error_says_what_it_means() -> None:
    """Each error has a docstring."""
    assert all(cls.__doc__ for cls in CLASSES.values())
