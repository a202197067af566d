"""The closing summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sutro_stream.cli.summary import MEANINGS, summary
from sutro_stream.pipeline.report import RunReport
from sutro_stream.values.outcomes import ErrorKind

REPORT = RunReport(
    path=Path("out.csv"),
    rows=1500,
    rows_answered=1497,
    rows_failed=3,
    failures={ErrorKind.TIMEOUT: 1, ErrorKind.INVALID_OUTPUT: 2},
    retries=7,
    rows_kept=0,
    rows_shared=0,
    input_tokens=12345,
    output_tokens=678,
    elapsed_s=3.0,
    peak_in_flight=8,
)


def test_it_tells_everything() -> None:
    """Rows, rates, failures by kind with their meaning, tokens, place."""
    assert summary(REPORT).splitlines() == [
        "1,500 rows in 3.0 s (500.0 rows/s)",
        "answered              1,497",
        "failed                    3",
        "  invalid_output          2  the answer does not conform to the output schema",
        "  timeout                 1  no attempt was answered in time",
        "to ask again              1  by the same command; the ledger is kept for it",
        "retries                   7",
        "input tokens         12,345",
        "output tokens           678",
        "output           out.csv",
    ]


def test_tokens_that_were_not_counted_are_not_told() -> None:
    """An engine without usage does not look like one that used none."""
    text = summary(replace(REPORT, input_tokens=0, output_tokens=0, retries=0))
    assert "tokens" not in text
    assert "retries" not in text


def test_every_kind_of_failure_has_a_meaning() -> None:
    """A new kind cannot be forgotten."""
    assert set(MEANINGS) == set(ErrorKind)
