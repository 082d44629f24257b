"""What the demo shows while it runs: where it is, the table as it grows, milestones scrolling by."""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from milepost.cli.demo.goals import GOALS, Standings
from milepost.cli.demo.replay import Position
from milepost.cli.demo.tables import STYLES, standings_table, target_text
from milepost.events.types import TrackerEvent

__all__ = ["Board"]

_HEIGHT_WITHOUT_MILESTONES: Final = 17
_MILESTONES_AT_LEAST: Final = 3
_MILESTONES_AT_MOST: Final = 12
_NARROWEST: Final = 60


class Board:
    """A live display of a replay.

    Args:
        screen: where.
        standings: the sums so far; grow with the milestones.
        total: how many purchases there are.
        customers: how many customers there are.
    """

    def __init__(self, screen: Console, standings: Standings, total: int, customers: int) -> None:
        self._standings = standings
        self._total = total
        self._customers = customers
        room = screen.height - _HEIGHT_WITHOUT_MILESTONES
        self._lines: deque[Text] = deque(maxlen=max(1, min(_MILESTONES_AT_MOST, room)))
        self._batch: list[TrackerEvent] = []
        self.live = Live(console=screen, auto_refresh=False, transient=True, vertical_overflow="crop")

    @staticmethod
    def fits(screen: Console) -> bool:
        """Whether a screen is a terminal with room for the display."""
        height = _HEIGHT_WITHOUT_MILESTONES + _MILESTONES_AT_LEAST
        return screen.is_terminal and screen.height >= height and screen.width >= _NARROWEST

    def note(self, event: TrackerEvent) -> None:
        """Take a milestone that was just reached."""
        self._standings.note(event)
        self._batch.append(event)

    def show(self, position: Position) -> None:
        """Draw the next frame. Of the milestones since the last one, the rarest scrolls by."""
        if self._batch:
            self._lines.append(_milestone(max(self._batch, key=_rarity)))
            self._batch.clear()
        self.live.update(self._frame(position), refresh=True)

    def _frame(self, position: Position) -> RenderableType:
        head = Table.grid(padding=(0, 2), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        head.add_row(
            Text(f"{position.last.date:%d %b %Y}", style="bold"),
            ProgressBar(total=self._total, completed=position.done, complete_style="magenta"),
            f"{position.done} of {self._total} purchases",
        )
        return Group(
            head,
            Text(),
            standings_table(self._standings, self._customers),
            Text(),
            Text(f"milestones, the rarest of {self._standings.reached.total()}", style="dim"),
            *self._lines,
        )


def _rarity(event: TrackerEvent) -> tuple[int, float]:
    targets = GOALS[event.name]
    return targets.index(int(event.tracker.target)) - len(targets), float(event.tracker.progress)


def _milestone(event: TrackerEvent) -> Text:
    target = int(event.tracker.target)
    text = Text(f"{event.time:%d %b %Y}  ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(f"{event.group_id}  ", style="not dim")
    text.append(f"{event.name} reached {target_text(event.name, target)}", style=f"not dim {STYLES[event.name]}")
    if event.name == "spend":
        text.append(f"  (now ${event.tracker.progress})")
    return text
