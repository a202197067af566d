"""Queries: what clients really send, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.cursor import Cursor, decode_cursor, encode_cursor
from sutro_stream.wire.query import (
    ListQuery,
    ResultsFormat,
    ResultsQuery,
    ResultsUrlQuery,
    parse_boolean,
    parse_list_query,
    parse_results_query,
    parse_results_url_query,
)

CURSOR = Cursor(
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), job_id="job-1/2"
)


def refusal(call: Callable[[], object]) -> tuple[int, str, str]:
    """Status, code and text of a refusal."""
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.status, caught.value.code, caught.value.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [("True", True), ("true", True), ("1", True), ("False", False), ("FALSE", False)],
)
def test_truth_values_come_in_any_case(*, text: str, expected: bool) -> None:
    """The SDK sends what Python prints."""
    assert parse_boolean({"a": text}, "a", default=not expected) is expected


@pytest.mark.parametrize("default", [True, False])
def test_an_absent_truth_value_has_a_default(*, default: bool) -> None:
    """As the parameter's documentation says."""
    assert parse_boolean({}, "a", default=default) is default


@pytest.mark.parametrize("text", ["", "yes", "2", "None"])
def test_another_word_is_refused(text: str) -> None:
    """The message names the parameter."""
    query = {"include_inputs": text}
    status, _, detail = refusal(
        lambda: parse_boolean(query, "include_inputs", default=False)
    )
    assert (status, detail) == (422, "include_inputs: give true or false")


def test_jobs_are_listed_without_a_query() -> None:
    """All of them, as the SDK asks."""
    assert parse_list_query({}) == ListQuery()


def test_jobs_are_listed_in_pages() -> None:
    """With a limit, and from the second page on with a cursor."""
    assert parse_list_query({"limit": "100"}) == ListQuery(limit=100)
    query = {"limit": "1", "cursor": encode_cursor(CURSOR)}
    assert parse_list_query(query) == ListQuery(limit=1, cursor=CURSOR)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": ""},
        {"limit": "1.5"},
        {"limit": "\u0665"},
        {"limit": "9" * 10_000},
        {"cursor": encode_cursor(CURSOR)},
        {"limit": "1", "cursor": "x"},
        {"limit": "1", "cursor": ""},
    ],
)
def test_a_bad_page_is_refused(query: dict[str, str]) -> None:
    """A limit out of range, a cursor of somebody else, or one alone."""
    status, _, detail = refusal(lambda: parse_list_query(query))
    assert status == 422
    assert detail.startswith(("limit: ", "cursor: "))


@pytest.mark.parametrize(
    "text",
    ["", "a", "\u00e9", "MTIz", "eC9qb2I", "MTIzLw", "OTk5OTk5OTk5OTk5OTk5OTk5OS9q"],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Whatever is wrong with it."""
    assert refusal(lambda: decode_cursor(text))[:2] == (422, "bad_cursor")


def test_a_cursor_is_safe_in_a_query() -> None:
    """It needs no escaping, and leads back."""
    text = encode_cursor(CURSOR)
    assert set("+/=&?%") & set(text) == set()
    assert decode_cursor(text) == CURSOR


@pytest.mark.parametrize("name", ["format", "result_format"])
def test_results_have_a_format(name: str) -> None:
    """Under its current and its older name, in any case."""
    expected = ResultsQuery(format=ResultsFormat.CSV)
    assert parse_results_query({name: "csv"}) == expected
    assert parse_results_query({name: "CSV"}) == expected


def test_results_can_have_more_columns() -> None:
    """Each by its own flag."""
    query = {
        "format": "json",
        "include_inputs": "True",
        "include_cumulative_logprobs": "True",
    }
    assert parse_results_query(query) == ResultsQuery(
        format=ResultsFormat.JSON, include_inputs=True, include_cumulative_logprobs=True
    )


@pytest.mark.parametrize("query", [{}, {"format": ""}, {"format": "xml"}])
def test_another_format_is_refused(query: dict[str, str]) -> None:
    """With 400, as the documentation says; the message lists the known ones."""
    status, code, detail = refusal(lambda: parse_results_query(query))
    assert (status, code) == (400, "invalid_format")
    assert detail.endswith("there is json, csv, parquet")


def test_a_link_has_defaults() -> None:
    """Parquet for an hour."""
    assert parse_results_url_query({}) == ResultsUrlQuery(expires_in_s=3600)


def test_a_link_as_the_sdk_asks_for_it() -> None:
    """With Python's truth values."""
    query = {
        "format": "parquet",
        "include_inputs": "True",
        "include_cumulative_logprobs": "False",
        "expires_in_seconds": "604800",
    }
    assert parse_results_url_query(query) == ResultsUrlQuery(
        include_inputs=True, expires_in_s=604_800
    )


@pytest.mark.parametrize("word", ["csv", "json", ""])
def test_links_are_to_parquet_only(word: str) -> None:
    """Anything else is a 400."""
    status, code, _ = refusal(lambda: parse_results_url_query({"format": word}))
    assert (status, code) == (400, "invalid_format")


@pytest.mark.parametrize("text", ["0", "604801", "-1", "1h", ""])
def test_a_link_is_good_for_a_week_at_most(text: str) -> None:
    """And for a second at least."""
    status, _, detail = refusal(
        lambda: parse_results_url_query({"expires_in_seconds": text})
    )
    assert status == 422
    assert "from 1 to 604800" in detail
