"""What ``milepost track`` shows while it works: events on stdout, a progress bar on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from milepost.cli.printing import console
from milepost.events.types import TrackerEvent

__all__ = ["EventOutput"]


class EventOutput:
    """Writes events as JSON lines and moves a progress bar.

    The bar is there only on a terminal. Where stdout is that terminal too, events are printed
    above the bar; elsewhere stdout gets the lines and nothing else.

    Args:
        size: how many bytes there are to read; None where that is not known.
        quiet: show no bar.
    """

    def __init__(self, size: int | None, *, quiet: bool = False) -> None:
        screen = console(stderr=not sys.stdout.isatty())
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            *((TimeElapsedColumn(),) if size is None else (TaskProgressColumn(), TimeRemainingColumn())),
            TextColumn("{task.fields[lines]} lines, {task.fields[events]} events"),
            console=screen,
            transient=True,
            redirect_stdout=False,
            disable=quiet or not screen.is_terminal or sys.stderr is None or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("tracking", total=size, lines=0, events=0)
        self._shares_terminal = not self._bar.disable and not screen.stderr
        self.lines = 0
        self.events = 0

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def write(self, events: Iterable[TrackerEvent]) -> None:
        """Write events, a line of JSON each.

        Raises:
            BrokenPipeError: when nobody reads stdout any more.
        """
        lines = [event.encoded() for event in events]
        if not lines:
            return
        self.events += len(lines)
        if self._shares_terminal:
            self._bar.console.print("\n".join(lines), soft_wrap=True)
        else:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def advance(self, lines: int, size: int) -> None:
        """Note that lines have been dealt with."""
        self.lines += lines
        self._bar.update(self._task, advance=size, lines=self.lines, events=self.events)
