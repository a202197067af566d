"""What a finished run says in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sutro_stream.cli.messages import duration
from sutro_stream.pipeline.report import RunReport
from sutro_stream.values.outcomes import ErrorKind

MEANINGS: Mapping[ErrorKind, str] = {
    ErrorKind.BAD_ROW: "it could not be read as a row; not sent",
    ErrorKind.MISSING_VALUE: "a required input has no value; not sent",
    ErrorKind.WRONG_TYPE: "an input does not have its declared type; not sent",
    ErrorKind.INPUT_TOO_LONG: "the prompt exceeds the model's context window",
    ErrorKind.REJECTED: "the endpoint refused the request",
    ErrorKind.TRUNCATED: "the answer hit the token limit before it was complete",
    ErrorKind.INVALID_OUTPUT: "the answer does not conform to the output schema",
    ErrorKind.FILTERED: "the endpoint withheld the answer",
    ErrorKind.PROVIDER_ERROR: "the model ended in an error, by its finish reason",
    ErrorKind.BAD_REPLY: "the endpoint's reply was not a chat completion",
    ErrorKind.TIMEOUT: "no attempt was answered in time",
    ErrorKind.UNREACHABLE: "no attempt got through to the endpoint",
    ErrorKind.RATE_LIMITED: "every attempt met the endpoint's rate limit",
    ErrorKind.SERVER_ERROR: "the last attempt ended in an error of the endpoint",
    ErrorKind.JOB_FAILED: "the deployment's job with this row failed",
    ErrorKind.NO_ANSWER: "the model, or the deployment's job, ended without an answer",
}

_CUT = "cut off at the token limit; --max-tokens gives more room"
_AGAIN = "by the same command; the ledger is kept for it"
_REPLACED = "cells that could not be read as they are, and are not asked about"


def summary(report: RunReport) -> str:
    """The report as a few lines of plain text."""
    return "\n".join(_lines(report))


def failure_lines(failures: Mapping[ErrorKind, int]) -> Iterator[str]:
    """One line for each kind of failure, the most frequent first."""
    for kind, count in sorted(failures.items(), key=lambda item: -item[1]):
        yield f"  {kind:<15}{count:>10,}  {MEANINGS[kind]}"


def _lines(report: RunReport) -> Iterator[str]:
    yield (
        f"{report.rows:,} rows in {duration(report.elapsed_s)} "
        f"({report.rows_per_s:,.1f} rows/s)"
    )
    yield _count("answered", report.rows_answered)
    yield from _told("  cut", report.rows_cut, _CUT)
    yield _count("failed", report.rows_failed)
    yield from failure_lines(report.failures)
    yield from _told("to ask again", report.rows_to_ask_again, _AGAIN)
    yield from _told("kept", report.rows_kept, "from the run before")
    yield from _told("calls saved", report.rows_shared, "equal prompts")
    yield from _told("retries", report.retries)
    yield from _told("asked again", report.reasks, "for an answer of the right form")
    if report.input_tokens or report.output_tokens:
        yield _count("input tokens", report.input_tokens)
        yield _count("output tokens", report.output_tokens)
    yield from _told("  cached", report.cached_tokens, "of the input tokens")
    if report.cost_usd is not None:
        yield f"cost             {report.cost_usd:>10,.4f}  USD{_unpriced(report)}"
    yield from _told("skipped", report.rows_skipped, "left out, as was asked for")
    yield from _told("replaced", report.cells_replaced, _REPLACED)
    yield f"output           {report.path}"
    for note in report.notes:
        yield f"note: {note}"


def _count(name: str, count: int) -> str:
    return f"{name:<17}{count:>10,}"


def _told(name: str, count: int, meaning: str = "") -> Iterator[str]:
    if count:
        yield f"{_count(name, count)}  {meaning}".rstrip()


def _unpriced(report: RunReport) -> str:
    if not report.rows_unpriced:
        return ""
    return f", without {report.rows_unpriced:,} answers whose price is not known"
