"""What ``milepost track`` does with lines: reads them, applies them together, counts."""

from __future__ import annotations

from milepost.cli.event_output import EventOutput
from milepost.cli.failing import BadInput
from milepost.cli.line_format import BadLine, LineFormat
from milepost.cli.printing import counted, note, printable
from milepost.errors import UndecodableError
from milepost.manager import TrackingManager, TrackItem
from milepost.tracking.result import TrackResult

__all__ = ["LineTracking"]


class LineTracking:
    """Applies chunks of lines in order, and counts what became of them.

    Args:
        manager: where to.
        form: how to read a line.
        output: where events go.
        skip_bad: report a bad line and go on, instead of ending there.
    """

    def __init__(self, manager: TrackingManager, form: LineFormat, output: EventOutput, skip_bad: bool) -> None:
        self._manager = manager
        self._form = form
        self._output = output
        self._skip_bad = skip_bad
        self.number = 0
        self.applied = self.known = self.unmoved = self.skipped = self.rejected = 0
        self.first_rejected = ""

    async def apply(self, chunk: list[bytes]) -> None:
        """Apply a chunk.

        Raises:
            BadInput: for a bad line, unless they are skipped; what stands before it is applied.
        """
        items: list[TrackItem] = []
        numbers: list[int] = []
        for line in chunk:
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                items.append(self._form.item(line))
            except BadLine as error:
                message = f"line {self.number}: {error}"
                if not self._skip_bad:
                    await self._send(items, numbers)
                    raise BadInput(f"{message}; {self._so_far()}") from None
                self._skip(message)
            else:
                numbers.append(self.number)
        await self._send(items, numbers)
        self._output.advance(len(chunk), sum(map(len, chunk)) + len(chunk))

    async def _send(self, items: list[TrackItem], numbers: list[int]) -> None:
        results = await self._manager.track_many(items)
        failed: tuple[int, Exception] | None = None
        for number, result in zip(numbers, results, strict=True):
            if result.error is not None:
                if self._skip_bad and isinstance(result.error, UndecodableError | ValueError):
                    self._skip(f"line {number}: {result.error}")
                else:
                    failed = failed or (number, result.error)
            else:
                self._count(number, result)
        self._output.write(event for result in results for event in result.events)
        if failed is not None:
            raise BadInput(f"line {failed[0]}: {failed[1]}; other lines of its batch may be applied")

    def _count(self, number: int, result: TrackResult) -> None:
        if result.duplicate:
            self.known += 1
            return
        self.applied += 1
        if result.rejected:
            self.rejected += 1
            name, reason = result.rejected[0]
            self.first_rejected = self.first_rejected or f"line {number}, tracker {name!r}: {reason}"
        elif not result.dirtied:
            self.unmoved += 1

    def _skip(self, message: str) -> None:
        self.skipped += 1
        note(f"milepost: {printable(message)}; skipped")

    def _so_far(self) -> str:
        before = self.applied + self.known
        if not before:
            return "nothing was applied"
        return f"the {'line' if before == 1 else f'{before} lines'} before it applied, nothing after it"

    def summary(self) -> str:
        """Return what became of the lines, in one line for people."""
        parts = [f"{counted(self.applied, 'line')} applied", f"{counted(self._output.events, 'event')}"]
        if self.known:
            parts.append(f"{self.known} known before by their event ids")
        if self.unmoved:
            parts.append(f"{self.unmoved} moved nothing")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        if self.rejected:
            parts.append(f"{self.rejected} rejected by a tracker (first: {printable(self.first_rejected)})")
        return ", ".join(parts)
