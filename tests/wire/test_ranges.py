"""Which bytes a request gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.wire.ranges import Part, Unsatisfiable, Whole, wanted_range

ETAG = '"0a1b"'


@pytest.mark.parametrize(
    ("requested", "start", "stop"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=40-", 40, 100),
        ("bytes=99-", 99, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10-5000", 10, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-5000", 0, 100),
        ("Bytes=10-19", 10, 20),
        (" bytes= 10-19 ", 10, 20),
        ("bytes=10-" + 40 * "9", 10, 100),
    ],
)
def test_one_range_is_a_part(requested: str, start: int, stop: int) -> None:
    """With a beginning and an end, either of them, or the last bytes."""
    part = wanted_range(requested, None, size_bytes=100, etag=ETAG)
    assert part == Part(start, stop, 100)


@pytest.mark.parametrize("requested", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_outside_cannot_be_satisfied(requested: str) -> None:
    """None of its bytes exists."""
    wanted = wanted_range(requested, None, size_bytes=100, etag=ETAG)
    assert wanted == Unsatisfiable(100)


@pytest.mark.parametrize(
    "requested",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=9-3",
        "bytes=a-b",
        "bytes=0-1,5-6",
        "bytes=+1-2",
        "bytes=\u0661-2",
        "bytes=1 - 2",
        "items=0-1",
        "bytes=" + 5000 * "9" + "-",
    ],
)
def test_what_is_no_single_range_is_overlooked(requested: str) -> None:
    """Several ranges, other units and nonsense get the whole file."""
    wanted = wanted_range(requested, None, size_bytes=100, etag=ETAG)
    assert wanted == Whole()


def test_without_a_range_it_is_the_whole_file() -> None:
    """Whatever `If-Range` says."""
    assert wanted_range(None, ETAG, size_bytes=100, etag=ETAG) == Whole()


def test_a_range_of_the_same_file_counts() -> None:
    """The ETag is the one that the client has."""
    part = wanted_range("bytes=40-", ETAG, size_bytes=100, etag=ETAG)
    assert part == Part(40, 100, 100)


@pytest.mark.parametrize(
    "if_range", ['"other"', f"W/{ETAG}", "0a1b", "", "Wed, 21 Oct 2015 07:28:00 GMT"]
)
def test_a_range_of_another_file_is_overlooked(if_range: str) -> None:
    """Another ETag, a weak one and a date do not name this file."""
    wanted = wanted_range("bytes=40-", if_range, size_bytes=100, etag=ETAG)
    assert wanted == Whole()


@pytest.mark.parametrize("requested", ["bytes=0-", "bytes=-5"])
def test_an_empty_file_has_no_part(requested: str) -> None:
    """Not even its beginning."""
    wanted = wanted_range(requested, None, size_bytes=0, etag=ETAG)
    assert wanted == Unsatisfiable(0)


def test_a_part_says_where_it_lies() -> None:
    """As the header wants it, the end included."""
    part = Part(10, 20, 100)
    assert part.content_range == "bytes 10-19/100"
    assert len(part) == 10


def test_what_cannot_be_satisfied_says_the_size() -> None:
    """So that the client can ask again."""
    assert Unsatisfiable(100).content_range == "bytes */100"


@given(
    st.text(alphabet="bytes=-,0123456789 ", max_size=20),
    st.integers(min_value=0, max_value=200),
)
def test_a_part_lies_within_the_file(requested: str, size_bytes: int) -> None:
    """And is not empty, for any header."""
    for header in (requested, f"bytes={requested}"):
        wanted = wanted_range(header, None, size_bytes=size_bytes, etag=ETAG)
        if isinstance(wanted, Part):
            assert 0 <= wanted.start < wanted.stop <= size_bytes
