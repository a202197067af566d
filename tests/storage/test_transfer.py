from typing import Literal

import pytest
from multidict import CIMultiDict

from sutro_stream.errors import ProtocolError, ServiceError
from sutro_stream.storage.transfer import (
    Offer,
    Progress,
    Verdict,
    file_suffix,
    shown_url,
)


def _half_done() -> Progress:
    return Progress(received=50, total=100, validator='"v1"')


def test_the_first_request_asks_for_the_whole() -> None:
    """And for bytes as they are."""
    assert Progress().request_headers() == {"Accept-Encoding": "identity"}


def test_a_resumed_request_asks_for_the_rest_of_the_same_file() -> None:
    """The server sends the whole one if it has changed."""
    headers = _half_done().request_headers()
    assert (headers["Range"], headers["If-Range"]) == ("bytes=50-", '"v1"')


def test_a_file_that_cannot_be_recognised_is_asked_for_anew() -> None:
    """Its rest may be that of another version."""
    progress = Progress(received=50, total=100)
    assert "Range" not in progress.request_headers()


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"v1"', "Last-Modified": "Mon"}, '"v1"'),
        ({"ETag": 'W/"v1"', "Last-Modified": "Mon"}, "Mon"),
        ({"ETag": 'W/"v1"'}, None),
        ({}, None),
    ],
)
def test_versions_are_told_by_strong_validators(
    headers: dict[str, str], validator: str | None
) -> None:
    """A weak tag does not promise the same bytes."""
    progress = Progress()
    assert progress.take(200, CIMultiDict(headers)) is Verdict.START
    assert progress.validator == validator


def test_a_whole_file_replaces_what_is_there() -> None:
    """A server may ignore the range, or the file may have changed."""
    progress = _half_done()
    headers = CIMultiDict({"Content-Length": "70", "ETag": '"v2"'})
    assert progress.take(200, headers) is Verdict.START
    assert progress == Progress(received=0, total=70, validator='"v2"')


def test_the_rest_is_appended() -> None:
    """When it begins where the last part ended."""
    headers = CIMultiDict({"Content-Range": "bytes 50-99/100", "ETag": '"v1"'})
    progress = _half_done()
    assert progress.take(206, headers) is Verdict.GO_ON
    assert progress == _half_done()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Range": "bytes 40-99/100"},
        {"Content-Range": "bytes 50-119/120"},
        {"Content-Range": "bytes 50-99/*"},
        {"Content-Range": "bytes 50-99/100", "ETag": '"v2"'},
        {"Content-Range": "lines 50-99/100"},
    ],
)
def test_a_part_that_does_not_fit_is_not_appended(headers: dict[str, str]) -> None:
    """Another place, another size or another version."""
    verdict = _half_done().take(206, CIMultiDict(headers))
    assert verdict is Verdict.BEGIN_ANEW


def test_nothing_is_missing_when_the_server_has_no_more() -> None:
    """A length that was a lie, or not given, is found out so."""
    headers = CIMultiDict({"Content-Range": "bytes */50"})
    assert _half_done().take(416, headers) is Verdict.COMPLETE


def test_a_file_that_became_shorter_is_begun_anew() -> None:
    """There is no range to go on with."""
    headers = CIMultiDict({"Content-Range": "bytes */20"})
    assert _half_done().take(416, headers) is Verdict.BEGIN_ANEW


@pytest.mark.parametrize("status", [400, 403, 404, 416, 500, 503, 599])
def test_an_error_status_is_an_error(status: int) -> None:
    """It carries the status, by which the policy decides."""
    with pytest.raises(ServiceError, match=str(status)) as caught:
        Progress().take(status, CIMultiDict({"Retry-After": "7"}))
    assert caught.value.status == status
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_file_is_an_error(status: int) -> None:
    """Asking again would not help."""
    with pytest.raises(ProtocolError, match=str(status)):
        Progress().take(status, CIMultiDict())


CSV = b"a,b\n1,2\n"
PARQUET = b"PAR1...."


@pytest.mark.parametrize(
    ("names", "content_type", "start", "suffix"),
    [
        (["/a.csv"], "", CSV, ".csv"),
        (["/a.CSV.gz"], "application/gzip", b"\x1f\x8b", ".csv"),
        (["/a.v2.tsv.zst"], "", b"", ".tsv"),
        (["/a.pq"], "text/plain", PARQUET, ".parquet"),
        (["/a%2Eparquet"], "", PARQUET, ".parquet"),
        (["/a.csv"], "application/vnd.apache.parquet", CSV, ".csv"),
        (["/download", "/real/a.tsv"], "text/csv", CSV, ".tsv"),
        (["/download", "/d", "export.parquet"], "", b"", ".parquet"),
        (["/download"], "text/csv", CSV, ".csv"),
        (["/download"], "text/tab-separated-values", CSV, ".tsv"),
        (["/download"], "application/octet-stream", PARQUET, ".parquet"),
        (["/download"], "text/csv", PARQUET, ".parquet"),
        (["/download"], "application/octet-stream", CSV, None),
        (["/v1.2/download"], "", CSV, None),
    ],
)
def test_the_format_is_told_by_name_content_and_type(
    names: list[str], content_type: str, start: bytes, suffix: str | None
) -> None:
    """In this order; a lying content type does not hide a Parquet file."""
    offer = Offer(names=names, content_type=content_type)
    assert file_suffix(offer, start, declared=None) == suffix


@pytest.mark.parametrize(
    ("declared", "names", "content_type", "suffix"),
    [
        ("csv", ["/a.parquet"], "", ".csv"),
        ("parquet", ["/a.csv"], "text/csv", ".parquet"),
        ("csv", ["/a.tsv"], "", ".tsv"),
        ("csv", ["/a"], "text/tab-separated-values", ".tsv"),
        ("csv", ["/a.csv"], "text/tab-separated-values", ".csv"),
    ],
)
def test_a_declared_format_wins(
    declared: Literal["csv", "parquet"],
    names: list[str],
    content_type: str,
    suffix: str,
) -> None:
    """Only the delimiter of CSV is still left to the name and the type."""
    offer = Offer(names=names, content_type=content_type)
    assert file_suffix(offer, b"", declared=declared) == suffix


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/a.csv?sig=s#f", "https://host/a.csv"),
        ("https://user:secret@host:81/a.csv", "https://host:81/a.csv"),
        ("http://[::1]:81/a", "http://[::1]:81/a"),
        ("http://host", "http://host"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """User, query and fragment are left out."""
    assert shown_url(url) == shown
