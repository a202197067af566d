"""What a finished run says in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sutro_stream.cli.messages import duration
from sutro_stream.pipeline.report import RunReport
from sutro_stream.values.outcomes import ErrorKind

MEANINGS: Mapping[ErrorKind, str] = {
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
    yield f"answered         {report.rows_answered:>10,}"
    if report.rows_cut:
        room = "cut off at the token limit; --max-tokens gives more room"
        yield f"  {'cut':<15}{report.rows_cut:>10,}  {room}"
    yield f"failed           {report.rows_failed:>10,}"
    yield from failure_lines(report.failures)
    if report.rows_to_ask_again:
        yield (
            f"to ask again     {report.rows_to_ask_again:>10,}  "
            "by the same command; the ledger is kept for it"
        )
    if report.rows_kept:
        yield f"kept             {report.rows_kept:>10,}  from the run before"
    if report.rows_shared:
        yield f"calls saved      {report.rows_shared:>10,}  equal prompts"
    if report.retries:
        yield f"retries          {report.retries:>10,}"
    if report.reasks:
        yield f"asked again      {report.reasks:>10,}  for an answer of the right form"
    if report.input_tokens or report.output_tokens:
        yield f"input tokens     {report.input_tokens:>10,}"
        yield f"output tokens    {report.output_tokens:>10,}"
    if report.cached_tokens:
        yield f"  {'cached':<15}{report.cached_tokens:>10,}  of the input tokens"
    if report.cost_usd is not None:
        yield f"cost             {report.cost_usd:>10,.4f}  USD{_unpriced(report)}"
    yield f"output           {report.path}"


def _unpriced(report: RunReport) -> str:
    if not report.rows_unpriced:
        return ""
    return f", without {report.rows_unpriced:,} answers whose price is not known"
