"""The interpreter's own tests for dict, list and set, run against the tracked ones.

Where the tests say ``{}``, ``[]``, ``dict(…)`` or ``set(…)``, they are read as saying the tracked type; the sources are
those of the Python that runs. Some builds of Python leave out the package ``test``: in CI that is a failure,
elsewhere the file is skipped, and the state machines beside it say the same of every method.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from milepost.changes import TrackedDict, TrackedList, TrackedSet

MISSING = (
    "this Python comes without its own tests (the package `test`): apt-get install libpython3-testsuite, "
    "or use one from python.org, uv or pyenv"
)

try:
    from test import list_tests, mapping_tests, test_dict, test_set
except ImportError:
    if os.environ.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)


class _Tracked(ast.NodeTransformer):
    """Puts a call of the tracked type around every dict display."""

    def __init__(self, name: str, nodes: tuple[type[ast.AST], ...]) -> None:
        self._name = name
        self._nodes = nodes

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, self._nodes) and not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            return ast.Call(ast.Name(self._name, ast.Load()), [node], [])
        return node


def read_as_tracked(module: ModuleType, class_name: str, tracked: type, nodes: tuple[type[ast.AST], ...]) -> Any:
    """Return a class of tests in which displays make tracked containers."""
    source = textwrap.dedent(inspect.getsource(getattr(module, class_name)))
    tree = _Tracked("_tracked", nodes).visit(ast.parse(source))
    ast.fix_missing_locations(tree)
    namespace = {**vars(module), "_tracked": tracked, tracked.__mro__[-2].__name__: tracked}
    exec(compile(tree, f"{module.__name__} (tracked)", "exec"), namespace)  # noqa: S102  the interpreter's own sources
    return namespace[class_name]


class TestTrackedListIsAList(list_tests.CommonTest):
    type2test = TrackedList


class TestTrackedDictIsAMapping(mapping_tests.TestHashMappingProtocol):
    type2test = TrackedDict
    test_copy = None  # wants a subclass back, which `dict` itself does not give


class TestSubclassOfTrackedDictIsAMapping(mapping_tests.TestHashMappingProtocol):
    type2test = type("Mine", (TrackedDict,), {})
    test_copy = None


class AttributedSet(TrackedSet[Any]):
    """The set's tests hang an attribute on theirs."""


class TestTrackedSetIsASet(test_set.TestSet):
    thetype = AttributedSet
    basetype = set
    test_c_api = None  # of debug builds


class TestTrackedDictIsADict(read_as_tracked(test_dict, "DictTest", TrackedDict, (ast.Dict, ast.DictComp))):
    # How CPython lays out dicts in memory, and whether its garbage collector looks at them.
    test_copy_fuzz = None
    test_copy_maintains_tracking = None
    test_track_literals = None
    test_track_dynamic = None
    test_track_subtypes = None
    # How often a key is hashed and compared: to know the old value is one look more.
    test_setdefault_atomic = None
    test_setitem_atomic_at_resize = None
    # A dict that is changed by an item's `__del__`: the log still has the item.
    test_oob_indexing_dictiter_iternextitem = None
    # A dict that is changed by a key's `__eq__` while it is the argument of `update`: it was copied before.
    test_merge_and_mutate = None


@pytest.mark.parametrize("in_ci", [False, True])
def test_without_them(in_ci: bool, tmp_path: Path) -> None:
    """A Python that comes without its tests fails in CI; elsewhere one line says how to get them."""
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "__init__.py").touch()  # such as Debian's, where most of it is in a package of its own
    root = Path(__file__).parents[2]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | ({"CI": "1"} if in_ci else {})
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", __file__],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "libpython3-testsuite" in done.stdout
    assert ("1 skipped" in done.stdout) is not in_ci
    assert (done.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED)) is not in_ci
