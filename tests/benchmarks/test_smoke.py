"""The benchmarks run and count right, in sizes that measure nothing. No test looks at a time."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.figures import Row
from benchmarks.measuring import Effort
from benchmarks.rows import ROWS

TINY = Effort(scale=0.001, repeats=1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_counts_right_and_reports(row: Row) -> None:
    """Each row asserts its own counts; a peer that is not installed is left out and said so."""
    figures = row.measure(TINY)
    if not figures:
        pytest.skip("its driver is not installed")
    for figure in figures:
        assert figure.milepost > 0 or figure.unit == "ms"
        assert figure.other is not None or figure.met is not None or figure.note


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m benchmarks --only NAME --json FILE`` says the same to people and to machines."""
    target = tmp_path / "results.json"
    assert main(["--only", "one-tracker", "--json", str(target)], TINY) == 0
    printed = capsys.readouterr().out
    assert "written by hand" in printed
    assert "cores" in printed
    written = json.loads(target.read_text("utf-8"))
    assert [row["name"] for row in written["rows"]] == ["one-tracker"]
    assert {figure["unit"] for figure in written["rows"][0]["figures"]} == {"calls/s"}
    assert written["machine"]["python"]


def test_an_unknown_row_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no row has ends with status 2 and the names that there are."""
    with pytest.raises(SystemExit) as stopped:
        main(["--only", "nothing"])
    assert stopped.value.code == 2
    assert "one-tracker" in capsys.readouterr().err
