"""The table that people read and the JSON that machines do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import Figure, Row

__all__ = ["as_json", "show_table"]

Results = Sequence[tuple[Row, Sequence[Figure]]]

_HEADINGS = ("work", "compared with", "milepost", "other", "ratio", "target", "")


def as_json(machine: Mapping[str, str], results: Results) -> str:
    """Return everything as JSON text."""
    return json.dumps(
        {"machine": dict(machine), "rows": [_row_as_json(row, figures) for row, figures in results]},
        indent=2,
        ensure_ascii=False,
    )


def _row_as_json(row: Row, figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        "name": row.name,
        "work": row.work,
        "figures": [
            {
                "versus": figure.versus,
                "unit": figure.unit,
                "milepost": figure.milepost,
                "other": figure.other,
                "ratio": figure.ratio,
                "target": None
                if figure.target is None
                else {"sense": figure.target.sense, "bound": figure.target.bound, "of": figure.target.of},
                "met": figure.met,
                "note": figure.note,
            }
            for figure in figures
        ],
    }


def show_table(machine: Mapping[str, str], results: Results) -> None:
    """Print what was measured: with rich where it is installed, else in plain columns."""
    lines = [line for row, figures in results for line in _lines(row, figures)]
    notes = dict.fromkeys(figure.note for _, figures in results for figure in figures if figure.note)
    header = " · ".join(f"{name}: {value}" for name, value in machine.items())
    try:
        _show_rich(header, lines, list(notes))
    except ModuleNotFoundError:
        _show_plain(header, lines, list(notes))


def _lines(row: Row, figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for figure in figures:
        verdict = {True: "met", False: "missed", None: "" if figure.target is None else "not judged"}[figure.met]
        lines.append(
            (
                row.work if not lines else "",
                figure.versus,
                f"{_number(figure.milepost)} {figure.unit}",
                "–" if figure.other is None else f"{_number(figure.other)} {figure.unit}",
                "–" if figure.ratio is None else f"{_number(figure.ratio)}x",
                _target(figure),
                verdict,
            )
        )
    return lines or [(row.work, "not measured: its driver is not installed", "", "", "", "", "")]


def _target(figure: Figure) -> str:
    target = figure.target
    if target is None:
        return "–"
    sign = "≥" if target.sense == "at least" else "≤"
    return f"{sign} {_number(target.bound)}{'x' if target.of == 'ratio' else f' {figure.unit}'}"


def _number(value: float) -> str:
    """Three digits that count: no measurement here is more exact."""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.{3 - len(str(int(abs(value))))}f}"


def _show_rich(header: str, lines: Sequence[tuple[str, ...]], notes: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*_HEADINGS, caption=header, caption_justify="left", header_style="bold")
    for column in table.columns[2:5]:
        column.justify = "right"
    styles = {"met": "green", "missed": "bold red", "not judged": "yellow"}
    for n, line in enumerate(lines):
        if n and line[0]:
            table.add_section()
        style = styles.get(line[-1])
        table.add_row(*line[:-1], f"[{style}]{line[-1]}[/]" if style else line[-1])
    console = Console(width=None if Console().is_terminal else 150)
    console.print(table)
    for note in notes:
        console.print(note, markup=False)


def _show_plain(header: str, lines: Sequence[tuple[str, ...]], notes: Sequence[str]) -> None:
    everything = [_HEADINGS, *lines]
    widths = [max(len(line[column]) for line in everything) for column in range(len(_HEADINGS))]
    for line in everything:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(header)
    for note in notes:
        print(note)
