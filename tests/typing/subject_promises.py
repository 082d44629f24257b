"""What the type checkers are promised of subjects and models. mypy and pyright read this file; nothing runs it."""

from __future__ import annotations

from typing import Any, assert_type

from milepost import EventContext, Subject, TrackedModel, TrackingManager
from milepost.subjects import Change, before_create, before_save


class User(TrackedModel):
    name: str

    @before_create
    async def _plain(self) -> int:
        return 1

    @before_save()
    def _called(self) -> str:
        return ""


async def subjects(manager: TrackingManager, ctx: EventContext) -> None:
    """Properties are of any type; what sets them can be unpacked, and awaited."""
    subject = await manager.subject("user-1")
    assert_type(subject, Subject)
    assert_type(subject.set("n", lambda n: n + 1, default=0), Change)
    new, old = subject.set("n", 1)
    assert_type(await subject.set("n", 1), tuple[Any, Any])
    assert_type(subject.keys(), list[str])
    assert_type(subject.dict(), dict[str, Any])
    assert_type(ctx.subject, Subject)
    print(new, old)


async def models() -> None:
    """A class finds models of its own; hooks are the functions that they were."""
    assert_type(await User.get("1"), User | None)
    assert_type(await User.find_one(name="ada"), User | None)
    assert_type(await User.find({"name": "ada"}), list[User])
    assert_type(await User.count(), int)
    user = User(name="ada")
    assert_type(await user._plain(), int)
    assert_type(user._called(), str)
