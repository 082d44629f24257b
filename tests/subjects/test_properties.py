"""A subject's properties: reading and writing the loaded copy, and what comes back from where it is kept."""

from __future__ import annotations

import gc
import warnings
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from milepost import CountTracker, InvalidDefinition, TrackingManager
from milepost.subjects import Subject
from tests.conftest import Place

VALUES = [
    None,
    True,
    0,
    -(2**63),
    1.5,
    "",
    "ü€😀",
    Decimal("1.50"),
    datetime(2024, 2, 29, 12, tzinfo=UTC),
    date(2024, 2, 29),
    time(12, 30),
    timedelta(days=1, microseconds=1),
    [1, [2, {"a": None}]],
    (1, (2, 3)),
    {1, 2},
    frozenset({"a"}),
    {"a": {"b": []}},
    {"$decimal": "no decimal"},
    {"v": 1},
]


async def test_reads_and_writes_are_immediate(manager: TrackingManager) -> None:
    """What was set is read back at once, before it is stored; deleting takes it away; nothing else is there."""
    user = await manager.subject("user-1")
    assert user.name == str(user) == "user-1"
    assert user.get("email") is None
    assert user.get("email", "none") == "none"
    assert not user.has("email")
    assert user.set("email", "a@example.com") == ("a@example.com", None)
    new, old = user.set("email", "b@example.com")
    assert (new, old) == ("b@example.com", "a@example.com")
    user.set("age", 30)
    assert user.keys() == ["age", "email"]
    assert user.dict() == {"email": "b@example.com", "age": 30}
    assert user.delete("age") == (None, 30)
    assert user.delete("never") == (None, None)
    assert user.dict() == {"email": "b@example.com"}
    assert user.has("email")
    assert not user.has("age")
    user.discard()
    assert user.dict() == {}


async def test_nothing_is_stored_before_store(manager: TrackingManager) -> None:
    """Another copy sees none of the changes until they are stored, and then all of them."""
    user = await manager.subject("user-1")
    user.set("a", 1)
    user.set("b", 2)
    assert user.has_changes
    assert (await manager.subject("user-1")).dict() == {}
    await user.store()
    assert not user.has_changes
    assert (await manager.subject("user-1")).dict() == {"a": 1, "b": 2}
    await user.store()  # there is nothing to store, which is no error


async def test_awaiting_a_change_commits_at_once(manager: TrackingManager) -> None:
    """``await subject.set(...)`` commits, with what was changed before, and gives (new, old) as committed."""
    user = await manager.subject("user-1")
    user.set("a", 1)
    assert await user.set("b", lambda n: n + 1, default=10) == (11, None)
    assert (await manager.subject("user-1")).dict() == {"a": 1, "b": 11}
    assert await user.delete("b") == (None, 11)
    assert (await manager.subject("user-1")).dict() == {"a": 1}
    change = user.set("c", 1)
    await user.store()
    assert await change == (1, None), "it was stored in the meantime"


async def test_without_the_cache_one_property_is_committed(manager: TrackingManager) -> None:
    """``use_cache=False`` commits that property, and what was done to it before; the others wait for ``store``."""
    user = await manager.subject("user-1")
    user.set("other", "waits")
    user.set("n", 5)
    assert await user.set("n", lambda n: n + 1, use_cache=False) == (6, 5)
    assert (await manager.subject("user-1")).dict() == {"n": 6}
    assert user.has_changes
    user.set("m", 1, use_cache=False)
    user.delete("n", use_cache=False)
    await user.store()
    assert (await manager.subject("user-1")).dict() == user.dict() == {"other": "waits", "m": 1}


async def test_what_is_not_awaited_is_committed_too(manager: TrackingManager) -> None:
    """``use_cache=False`` begins to commit at once, whether or not anybody waits for it."""
    user = await manager.subject("user-1")
    user.set("n", 1, use_cache=False)
    await manager.settle()
    assert (await manager.subject("user-1")).dict() == {"n": 1}
    assert not user.has_changes


async def test_functions(manager: TrackingManager) -> None:
    """A function gets the value before, the default where it is absent, or nothing where it takes nothing."""
    user = await manager.subject("user-1")
    assert user.set("n", lambda n: n + 1, default=0) == (1, None)
    assert user.set("n", lambda n: n + 1, default=0) == (2, 1)
    assert user.set("m", lambda value: value is None) == (True, None)
    assert user.set("constant", lambda: 7) == (7, None)
    assert user.set("name", "ada") == ("ada", None)
    assert user.set("name", str.upper) == ("ADA", "ada")
    assert user.set("tags", lambda tags: tags.append("a") or tags, default=[]) == (["a"], None)
    await user.store()
    assert (await manager.subject("user-1")).dict() == {
        "n": 2,
        "m": True,
        "constant": 7,
        "name": "ADA",
        "tags": ["a"],
    }


async def test_functions_that_cannot_be(manager: TrackingManager) -> None:
    """A function that takes too much, is async or fails raises where it was handed in, and nothing is changed."""

    async def later(value: Any) -> Any:
        return value

    user = await manager.subject("user-1")
    with pytest.raises(TypeError, match="value before, or nothing"):
        user.set("n", lambda a, b: a)
    with pytest.raises(TypeError, match="must not be async"):
        user.set("n", later)
    with pytest.raises(TypeError):
        user.set("n", lambda n: n + 1)
    with pytest.raises(InvalidDefinition, match="property 'n'"):
        user.set("n", lambda n: object())
    assert not user.has_changes
    assert user.dict() == {}


async def test_extended_properties(manager: TrackingManager) -> None:
    """They are apart from the others, whatever their names are, and are stored with them."""
    user = await manager.subject("user-1")
    user.set("ip", "of the property")
    assert user.set_ext("ip", "127.0.0.1") == ("127.0.0.1", None)
    assert user.set_ext("seen", lambda n: n + 1, default=0) == (1, None)
    await user.store()
    user = await manager.subject("user-1")
    assert user.dict() == {"ip": "of the property"}
    assert user.ext() == {"ip": "127.0.0.1", "seen": 1}
    assert user.get_ext("ip") == "127.0.0.1"
    assert user.get_ext("none", 3) == 3
    assert await user.delete_ext("ip") == (None, "127.0.0.1")
    assert (await manager.subject("user-1")).ext() == {"seen": 1}
    assert user.keys() == ["ip"]


async def test_values_come_back_as_they_were(file_place: Place) -> None:
    """Every kind of value has its type and its content after a restart."""
    async with file_place.manager() as manager, await manager.subject("s") as subject:
        for n, value in enumerate(VALUES):
            subject.set(f"p{n:02}", value)
    async with file_place.manager() as manager:
        read = (await manager.subject("s")).dict()
        assert list(read.values()) == VALUES
        assert [type(value) for value in read.values()] == [type(value) for value in VALUES]


async def test_values_are_copied(manager: TrackingManager) -> None:
    """Changing what was handed in, or what was read, changes no property."""
    user = await manager.subject("user-1")
    tags = ["a"]
    user.set("tags", tags)
    tags.append("b")
    user.get("tags").append("c")
    user.dict()["tags"].append("d")
    assert user.get("tags") == ["a"]
    await user.store()
    (await manager.subject("user-1")).get("tags").append("e")
    assert (await manager.subject("user-1")).get("tags") == ["a"]


@pytest.mark.parametrize("value", [float("nan"), object(), b"bytes", 2**63, {1: 2}, "\ud800"])
async def test_what_cannot_be_stored_is_refused_where_it_is_set(in_memory: TrackingManager, value: Any) -> None:
    """The error names the property, and nothing is changed."""
    user = await in_memory.subject("user-1")
    with pytest.raises(InvalidDefinition, match="property 'p'"):
        user.set("p", value)
    assert not user.has("p")
    assert not user.has_changes


async def test_names_are_checked(in_memory: TrackingManager) -> None:
    """Subjects and properties have names that are text."""
    with pytest.raises(TypeError, match="subject's name"):
        await in_memory.subject(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be empty"):
        await in_memory.subject("")
    user = await in_memory.subject("user-1")
    for call in (user.get, user.has, user.delete, user.get_ext, user.delete_ext):
        with pytest.raises(TypeError, match="property's name"):
            call(3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="must not be empty"):
            call("")
    with pytest.raises(TypeError, match="extra must be a mapping"):
        user.set("p", 1, extra=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition, match="extra"):
        user.set("p", 1, extra={"a": object()})
    assert not user.has_changes


@pytest.mark.parametrize("name", ["a:b", "$subject:x", "p:x", 'it\'s "q" \\ %_*?[]{}', "nul\0", "é", "x" * 5000, "1"])
async def test_any_text_is_a_name(manager: TrackingManager, name: str) -> None:
    """Of a subject, and of its properties."""
    subject = await manager.subject(name)
    subject.set(name, 1)
    subject.set_ext(name, 2)
    await subject.store()
    again = await manager.subject(name)
    assert again.dict() == {name: 1}
    assert again.ext() == {name: 2}
    assert (await manager.subject(name + "x")).dict() == {}


async def test_flush_deletes_it(manager: TrackingManager) -> None:
    """Everything goes, pending changes too; the same name begins anew, and can be deleted when it is not there."""
    user = await manager.subject("user-1")
    user.set("a", 1)
    user.set_ext("b", 2)
    await user.store()
    user.set("c", 3)
    await user.flush()
    assert not user.has_changes
    again = await manager.subject("user-1")
    assert user.dict() == again.dict() == user.ext() == again.ext() == {}
    await again.flush()
    await again.set("a", 2)
    assert (await manager.subject("user-1")).dict() == {"a": 2}


async def test_groups_and_subjects_are_apart(manager: TrackingManager) -> None:
    """A group and a subject may share a name; subjects are no groups, and no tracker declared for all is theirs."""
    manager.declare("*", CountTracker(name="n", target=100))
    subject = await manager.subject("both")
    await subject.set("n", "of the subject")
    await manager.track("both", {})
    assert [group async for group in manager.groups()] == ["both"]
    assert (await manager.subject("both")).dict() == {"n": "of the subject"}
    assert [tracker.progress for tracker in await manager.get_trackers("both")] == [1]
    for call in (manager.track("$subject:both", {}), manager.get_trackers("$subject:both")):
        with pytest.raises(ValueError, match="kept for subjects"):
            await call
    await subject.flush()
    assert [group async for group in manager.groups()] == ["both"]


async def test_as_a_block(manager: TrackingManager) -> None:
    """A block stores at its end what was changed in it, and nothing where it raises."""
    async with await manager.subject("s") as subject:
        subject.set("n", 1)
    assert (await manager.subject("s")).dict() == {"n": 1}
    with pytest.raises(RuntimeError):
        async with await manager.subject("s") as subject:
            subject.set("n", 2)
            raise RuntimeError
    assert subject.dict() == (await manager.subject("s")).dict() == {"n": 1}


async def test_changes_that_are_never_stored_are_noticed(manager: TrackingManager) -> None:
    """They raise a ``ResourceWarning`` that names them; stored, discarded or deleted ones do not."""

    async def forget(after: str) -> None:
        subject = await manager.subject("s")
        subject.set("n", 1)
        subject.set_ext("m", 1)
        if after == "store":
            await subject.store()
        elif after == "discard":
            subject.discard()
        elif after == "flush":
            await subject.flush()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for after in ("store", "discard", "flush"):
            await forget(after)
        gc.collect()
        assert not [warning for warning in caught if warning.category is ResourceWarning]
        await forget("nothing")
        gc.collect()
    (warning,) = [warning for warning in caught if warning.category is ResourceWarning]
    assert "subject 's' were never stored: m, n" in str(warning.message)


async def test_reloading(manager: TrackingManager) -> None:
    """What others stored is there after ``reload``, under what was changed here and is not stored."""
    mine, other = await manager.subject("s"), await manager.subject("s")
    mine.set("n", lambda n: n + 1, default=0)
    other.set("n", 10)
    other.set("m", 1)
    await other.store()
    await mine.reload()
    assert mine.dict() == {"n": 11, "m": 1}
    await mine.store()
    assert (await manager.subject("s")).dict() == {"n": 11, "m": 1}


async def test_a_closed_manager(place: Place) -> None:
    """Storing raises ``ManagerClosed``, and the changes are still there to be taken back."""
    from milepost import ManagerClosed

    async with place.manager() as manager:
        subject = await manager.subject("s")
    subject.set("n", 1)
    with pytest.raises(ManagerClosed):
        await subject.store()
    with pytest.raises(ManagerClosed):
        await manager.subject("s")
    assert subject.has_changes
    subject.discard()


async def test_the_first_call_starts_the_manager(place: Place) -> None:
    """A subject may be the first thing a manager is asked for."""
    manager = place.manager()
    subject: Subject = await manager.subject("s")
    await subject.set("n", 1)
    await manager.aclose()
    async with place.manager() as manager:
        assert (await manager.subject("s")).dict() == {"n": 1}
