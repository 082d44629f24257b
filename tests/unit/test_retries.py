from __future__ import annotations

from itertools import islice

import pytest

from milepost import InvalidDefinition
from milepost.retries import RetryPolicy


def test_pauses_grow_by_a_step_up_to_the_longest() -> None:
    """By default there are three retries: at once, after 0.2 s and after 0.4 s; none waits beyond the longest pause."""
    assert list(RetryPolicy().delays()) == pytest.approx([0, 0.2, 0.4])
    assert list(RetryPolicy(max_retries=5).delays()) == pytest.approx([0, 0.2, 0.4, 0.5, 0.5])
    assert list(RetryPolicy(max_retries=0).delays()) == []
    assert list(RetryPolicy(2, interval_start=9, interval_max=1).delays()) == [1, 1]


def test_pauses_grow_by_a_factor() -> None:
    """An exponential policy doubles its pauses up to the longest; without a limit it never ends."""
    policy = RetryPolicy.exponential(None, start=1, factor=2, most=10, jitter=0)
    assert list(islice(policy.delays(), 6)) == [1, 2, 4, 8, 10, 10]


def test_jitter_shortens_a_pause_by_no_more_than_its_part() -> None:
    """With a jitter of 0.5 a pause lies between its half and its whole; what is waited does not feed the next one."""
    policy = RetryPolicy.exponential(3, start=1, factor=2, most=100, jitter=0.5)
    assert list(policy.delays(lambda: 0.0)) == [1, 2, 4]
    assert list(policy.delays(lambda: 1.0)) == [0.5, 1, 2]
    for pause, whole in zip(policy.delays(), (1, 2, 4), strict=True):
        assert whole / 2 <= pause <= whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number"),
        ({"max_retries": True}, "max_retries must be a whole number"),
        ({"interval_start": -0.1}, "interval_start must be a finite number of at least 0"),
        ({"interval_max": float("nan")}, "interval_max"),
        ({"interval_step": float("inf")}, "interval_step"),
        ({"factor": 0.5}, "factor must be a finite number of at least 1"),
        ({"jitter": 1.5}, "jitter must be a finite number from 0 to 1"),
    ],
)
def test_a_wrong_number_is_named(settings: dict[str, float], message: str) -> None:
    """A setting that makes no sense is refused when the policy is made, by name."""
    with pytest.raises(InvalidDefinition, match=message):
        RetryPolicy(**settings)  # type: ignore[arg-type]
