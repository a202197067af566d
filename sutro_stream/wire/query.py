"""Queries of addresses: truth values, numbers and words, each checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sutro_stream.wire.api_error import ApiError, invalid
from sutro_stream.wire.cursor import Cursor, decode_cursor

MAX_LIST_LIMIT = 100
DEFAULT_EXPIRY_S = 3600
MAX_EXPIRY_S = 7 * 24 * 3600

# More digits are out of every range, and slow to convert.
_MAX_DIGITS = 18


class ResultsFormat(StrEnum):
    """In what form results are given."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Query of `list-jobs`.

    Attributes:
        limit: Most jobs of a page, 1 to 100; `None` for all of them.
        cursor: Where the page before ended, `None` for the first.
    """

    limit: int | None = None
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsQuery:
    """Query of a job's results.

    Attributes:
        format: As asked for.
        include_inputs: Whether with the prompts.
        include_cumulative_logprobs: Whether with the log-probability of each answer.
    """

    format: ResultsFormat
    include_inputs: bool = False
    include_cumulative_logprobs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsUrlQuery:
    """Query of a link to a job's results, which are always Parquet.

    Attributes:
        include_inputs: Whether with the prompts.
        include_cumulative_logprobs: Whether with the log-probability of each answer.
        expires_in_s: Seconds the link is good for.
    """

    include_inputs: bool = False
    include_cumulative_logprobs: bool = False
    expires_in_s: int = DEFAULT_EXPIRY_S


def parse_boolean(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A truth value in any case; the SDK writes `True` and `False`.

    Raises:
        ApiError: 422, it is another word.
    """
    text = query.get(name)
    if text is None:
        return default
    match text.lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise invalid(f"{name}: give true or false")


def parse_integer(
    query: Mapping[str, str], name: str, *, lowest: int, highest: int
) -> int | None:
    """A whole number within a range, `None` when it is absent.

    Raises:
        ApiError: 422, it is no number or out of range.
    """
    text = query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        number = int(text)
        if lowest <= number <= highest:
            return number
    raise invalid(f"{name}: give a whole number from {lowest} to {highest}")


def parse_list_query(query: Mapping[str, str]) -> ListQuery:
    """Read the query of `list-jobs`.

    Raises:
        ApiError: 422, a limit out of range, or a cursor that is none of ours or
            comes without a limit.
    """
    limit = parse_integer(query, "limit", lowest=1, highest=MAX_LIST_LIMIT)
    cursor = query.get("cursor")
    if cursor is None:
        return ListQuery(limit=limit)
    if limit is None:
        raise invalid("cursor: give it together with limit")
    return ListQuery(limit=limit, cursor=decode_cursor(cursor))


def parse_results_query(query: Mapping[str, str]) -> ResultsQuery:
    """Read the query of a job's results; `result_format` is an older name.

    Raises:
        ApiError: 400 for a missing or unknown format, 422 for other mistakes.
    """
    word = query.get("format", query.get("result_format"))
    if word is None:
        raise _bad_format("is required", ResultsFormat)
    try:
        known = ResultsFormat(word.lower())
    except ValueError:
        raise _bad_format("is not known", ResultsFormat) from None
    return ResultsQuery(
        format=known,
        include_inputs=parse_boolean(query, "include_inputs", default=False),
        include_cumulative_logprobs=parse_boolean(
            query, "include_cumulative_logprobs", default=False
        ),
    )


def parse_results_url_query(query: Mapping[str, str]) -> ResultsUrlQuery:
    """Read the query of a link to results.

    Raises:
        ApiError: 400 for another format than Parquet, 422 for other mistakes.
    """
    if query.get("format", ResultsFormat.PARQUET).lower() != ResultsFormat.PARQUET:
        raise _bad_format("has no links", [ResultsFormat.PARQUET])
    expiry = parse_integer(query, "expires_in_seconds", lowest=1, highest=MAX_EXPIRY_S)
    return ResultsUrlQuery(
        include_inputs=parse_boolean(query, "include_inputs", default=False),
        include_cumulative_logprobs=parse_boolean(
            query, "include_cumulative_logprobs", default=False
        ),
        expires_in_s=DEFAULT_EXPIRY_S if expiry is None else expiry,
    )


def _bad_format(problem: str, known: Iterable[ResultsFormat]) -> ApiError:
    message = f"format {problem}; there is {', '.join(known)}"
    return ApiError(400, "invalid_format", message)
