"""The purchases that the demo tracks: 18 months of an online music shop."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import NamedTuple

from milepost.manager import TrackItem

__all__ = ["Purchase", "purchases"]


class Purchase(NamedTuple):
    """A line of the file."""

    line: int
    customer: str
    date: datetime
    cds: int
    amount: Decimal

    def item(self) -> TrackItem:
        """Return the purchase as something to track. Its event id is the line: tracked twice, it counts once."""
        return TrackItem(
            f"customer:{self.customer}",
            {"amount": self.amount, "cds": self.cds},
            event_id=f"CDNOW_sample.txt:{self.line}",
            now=self.date,
        )


def purchases() -> list[Purchase]:
    """Return all purchases in the order in which they were made."""
    text = files("milepost.cli").joinpath("demo_data", "CDNOW_sample.txt").read_text("ascii")
    found: list[Purchase] = []
    for number, line in enumerate(text.splitlines(), 1):
        _, customer, date, cds, amount = line.split()
        moment = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
        found.append(Purchase(number, customer, moment, int(cds), Decimal(amount)))
    return sorted(found, key=lambda purchase: purchase.date)
