"""Numbers that arrive: ints and decimals are exact, floats are floats, anything else moves nothing and is reported."""

from __future__ import annotations

import decimal
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost import AccumulationTracker, BaseTracker, TrackerSnapshot, TrackingManager
from milepost.testing import EventRecorder, ManualClock
from tests.conftest import Place

FAR = 2**62


class Level(IntEnum):
    THREE = 3


async def progress_after(manager: TrackingManager, amounts: list[Any], **fields: Any) -> Any:
    await manager.add_tracker("g", AccumulationTracker("sum", FAR, **fields))
    for amount in amounts:
        result = await manager.track("g", {"amount": amount})
        assert not result.rejected
    return (await one(manager)).progress


async def one(manager: TrackingManager, name: str = "sum") -> TrackerSnapshot:
    tracker = await manager.get_tracker("g", name)
    assert tracker is not None
    return tracker


SUMS: list[tuple[list[Any], Any]] = [
    ([1, 2], 3),
    ([2**61, 2**61 - 1], 2**62 - 1),
    ([Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
    ([0.1, 0.2], 0.1 + 0.2),
    ([1, Decimal("0.5")], Decimal("1.5")),
    ([1, 0.5], 1.5),
    ([Decimal("0.5"), 0.25], 0.75),
    (["12"], 12),
    (["-3", "+5"], 2),
    (["1.50"], Decimal("1.50")),
    (["1e3"], Decimal("1e3")),
    ([".5", "5."], Decimal("5.5")),
    ([Level.THREE], 3),
    ([-5, 3], -2),
    ([0], 0),
    ([Decimal("9999999999999999.999999999999999999")], Decimal("9999999999999999.999999999999999999")),
]


@pytest.mark.parametrize(("amounts", "total"), SUMS, ids=str)
async def test_sums_are_exact_for_ints_and_decimals_and_floats_are_floats(
    amounts: list[Any], total: Any, manager: TrackingManager
) -> None:
    """Ints and Decimals add up exactly, floats as floats, and text that is a number counts as that number."""
    progress = await progress_after(manager, amounts)
    assert progress == total
    assert type(progress) is type(total)


async def test_exact_adds_decimals_whatever_arrives(manager: TrackingManager) -> None:
    """With ``exact=True`` ten times the float 0.1 is one, and reads as a Decimal."""
    progress = await progress_after(manager, [0.1] * 10, exact=True)
    assert progress == 1
    assert isinstance(progress, Decimal)


async def test_exact_reaches_its_target_to_the_cent(manager: TrackingManager, recorder: EventRecorder) -> None:
    """An exact sum reaches a target written as a float when the decimals say so: 0.1 + 0.2 is 0.3."""
    await manager.add_tracker("g", AccumulationTracker("sum", 0.3, exact=True))
    await manager.track("g", {"amount": 0.1})
    assert (await manager.track("g", {"amount": 0.2})).completed
    assert recorder.codes == ["tracker.added", "tracker.all_completed"]


REFUSED: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    True,
    False,
    None,
    "",
    "five",
    "1_000",
    "1,5",
    " 1",
    "0x10",
    "nan",
    "inf",
    "１２",
    "9" * 65,
    b"1",
    [1],
    {},
    1j,
    Fraction(1, 2),
    object(),
    2**63,
    -(2**63) - 8,
    10**400,
    10**5000,
    Decimal("1e7000"),
    "1e999999",
    "\ud800",
]


@pytest.mark.parametrize("amount", REFUSED, ids=[f"{type(amount).__name__} {i}" for i, amount in enumerate(REFUSED)])
async def test_what_is_no_number_moves_nothing_and_is_reported(amount: Any, manager: TrackingManager) -> None:
    """NaN, infinity, booleans, text that is no number and sums that are too large leave the tracker as it was."""
    await manager.add_trackers("g", [AccumulationTracker("sum", FAR), AccumulationTracker("exact", FAR, exact=True)])
    await manager.track("g", {"amount": 7})
    result = await manager.track("g", {"amount": amount})
    assert result.ok
    assert result.dirtied == [] or [tracker.name for tracker in result.dirtied] == ["exact"]  # 34 digits hold 2**63
    names = [rejected.name for rejected in result.rejected]
    assert names[0] == "sum"
    assert all(rejected.reason for rejected in result.rejected)
    assert (await one(manager)).progress == 7
    if names == ["sum", "exact"]:
        assert (await one(manager, "exact")).progress == 7
    else:
        assert isinstance(amount, int)
        assert -(10**34) < amount < 10**34


BEYOND: list[tuple[Any, Any]] = [
    (2**63 - 2, 2),
    (-(2**63), -1),
    (-1.7e308, -1.7e308),
    (Decimal("1" + "0" * 17 + "." + "0" * 15 + "1"), Decimal("1e-20")),
]


@pytest.mark.parametrize(("first", "then"), BEYOND, ids=str)
async def test_a_sum_that_cannot_be_kept_is_refused_whole(first: Any, then: Any, manager: TrackingManager) -> None:
    """Beyond 64-bit integers, 34 digits or finite floats nothing is rounded or wrapped: the tracker stays."""
    await manager.add_tracker("g", AccumulationTracker("sum", [1, 2**63 - 1]))
    await manager.track("g", {"amount": first})
    before = await one(manager)
    result = await manager.track("g", {"amount": then})
    assert [rejected.name for rejected in result.rejected] == ["sum"]
    after = await one(manager)
    assert (after.progress, type(after.progress)) == (before.progress, type(before.progress))
    assert after == before


async def test_a_datum_without_the_key_is_no_error(manager: TrackingManager) -> None:
    """An accumulation that finds nothing at its key does not count, and there is nothing to report."""
    await manager.add_tracker("g", AccumulationTracker("sum", 10))
    result = await manager.track("g", {"total": 5})
    assert (result.ok, result.dirtied, result.rejected) == (True, [], ())


async def test_a_bad_amount_harms_no_sibling(manager: TrackingManager) -> None:
    """A value that one tracker cannot add moves its siblings as if the bad one were not there."""
    trackers: list[BaseTracker] = [
        AccumulationTracker("good", 10, key="good"),
        AccumulationTracker("bad", 10, key="bad"),
    ]
    await manager.add_trackers("g", trackers)
    result = await manager.track("g", {"good": 3, "bad": "x"})
    assert [tracker.name for tracker in result.dirtied] == ["good"]
    assert [rejected.name for rejected in result.rejected] == ["bad"]


MIXED: list[tuple[dict[str, Any], Any, Any, int]] = [
    ({"target": 10.5, "exact": True}, "11", Decimal("0.5"), 1),
    ({"target": 10.5}, Decimal(11), Decimal("0.5"), 1),
    ({"target": Decimal("10.5")}, 11.0, 0.5, 1),
    ({"target": Decimal("10.5")}, 22, Decimal(1), 2),
    ({"target": 2.5}, 6, 1, 2),
]


@pytest.mark.parametrize(("fields", "amount", "left", "times"), MIXED, ids=str)
async def test_a_loop_copes_with_targets_and_amounts_of_different_numbers(
    fields: dict[str, Any], amount: Any, left: Any, times: int, manager: TrackingManager, recorder: EventRecorder
) -> None:
    """A loop goes on with what exceeds its target, whichever of int, float and Decimal target and progress are."""
    await manager.add_tracker("g", AccumulationTracker("sum", loop_forever=True, **fields))
    result = await manager.track("g", {"amount": amount})
    assert result.rejected == ()
    assert recorder.events[-1].times == times
    assert (await one(manager)).progress == left


async def test_a_loop_loses_no_digit(manager: TrackingManager) -> None:
    """What exceeds the last target of a loop is exact to all 34 digits."""
    await manager.add_tracker("g", AccumulationTracker("sum", 10, loop_forever=True, exact=True))
    await manager.track("g", {"amount": "1000000000000000000.123456789012345"})
    assert (await one(manager)).progress == Decimal("0.123456789012345")


async def test_the_decimal_context_of_the_caller_does_not_matter(in_memory: TrackingManager) -> None:
    """A program that sets a precision of its own for decimals gets the same sums."""
    manager = in_memory
    await manager.add_tracker("g", AccumulationTracker("sum", 10, exact=True, loop_forever=True))
    with decimal.localcontext(decimal.Context(prec=3)):
        await manager.track("g", {"amount": "11.23456"})
        await manager.track("g", {"amount": "0.00001"})
    assert (await one(manager)).progress == Decimal("1.23457")


AMOUNTS = st.one_of(
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.decimals(allow_nan=True, allow_infinity=True, places=None),
    st.booleans(),
    st.text(max_size=5),
    st.from_regex(r"[+-]?[0-9]{1,20}(\.[0-9]{1,10})?", fullmatch=True),
    st.none(),
)


@settings(max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(AMOUNTS, max_size=12), exact=st.booleans())
async def test_numbers_are_the_same_on_every_backend(amounts: list[Any], exact: bool, tmp_path_factory: Any) -> None:
    """The same data give the same progress, of the same type, and the same refusals wherever groups are kept."""
    folder = tmp_path_factory.mktemp("numbers")
    seen = []
    for way in ("memory", "sqlite through", "sqlite behind"):
        place = Place(way, ManualClock(), folder / way.replace(" ", "-"))
        place.path.parent.mkdir()
        refused = []
        for half in (amounts[::2], amounts[1::2]):  # a restart between
            async with place.manager() as manager:
                await manager.add_tracker("g", AccumulationTracker("sum", FAR, exact=exact), if_exists="keep")
                for amount in half:
                    refused.append((await manager.track("g", {"amount": amount})).rejected)
                tracker = await one(manager)
        seen.append((repr(tracker.progress), tracker.completed, refused))
    assert seen[0] == seen[1] == seen[2]
