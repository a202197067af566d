"""Rows as they are sent are counted, cut and signed without looking at each."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.pipeline.row_json import json_texts

TEXTS = st.lists(st.none() | st.text(max_size=5), max_size=12)


def encoded(texts: Sequence[str | None]) -> EncodedRows:
    """Prompts as they are sent."""
    return EncodedRows.of(json_texts(pa.array(texts, pa.string())))


def values(texts: Sequence[str | None]) -> list[bytes | None]:
    """JSON of each."""
    return [None if text is None else orjson.dumps(text) for text in texts]


def sent(rows: EncodedRows) -> list[str]:
    """What a deployment reads."""
    listed: list[str] = orjson.loads(b"[%b]" % b"".join(rows.listed()))
    return listed


@given(TEXTS, TEXTS, st.data())
def test_a_part_of_joined_rows_is_what_stands_there(
    texts: Sequence[str | None], others: Sequence[str | None], data: st.DataObject
) -> None:
    """Also across the seam."""
    joined = EncodedRows.joined([encoded(texts), encoded(others)])
    both = [*texts, *others]
    start = data.draw(st.integers(0, len(both)))
    stop = data.draw(st.integers(start, len(both)))
    part = joined.part(start, stop)
    assert len(part) == stop - start
    assert part.values() == values(both[start:stop])
    assert part.size_bytes == sum(len(row or b"") + 1 for row in part.values())


@given(TEXTS, TEXTS)
def test_all_that_are_not_refused_are_sent(
    texts: Sequence[str | None], others: Sequence[str | None]
) -> None:
    """With commas where they belong."""
    rows = EncodedRows.joined([encoded(texts), encoded(others)])
    wanted = [text for text in [*texts, *others] if text is not None]
    assert sent(rows) == wanted
    assert sent(rows.chosen(rows.sendable())) == wanted
    assert len(rows.sendable()) == len(wanted)


def test_what_lies_behind_a_null_is_not_sent() -> None:
    """Arrow leaves the bytes of a text there that becomes a null."""
    texts = pc.if_else(pa.array([False, True]), None, pa.array(["a", "b"]))
    assert sent(EncodedRows.of(json_texts(texts))) == ["a"]


@given(TEXTS, st.data())
def test_chosen_rows_are_those_at_the_offsets(
    texts: Sequence[str | None], data: st.DataObject
) -> None:
    """But for refused ones."""
    offsets = [at for at in range(len(texts)) if data.draw(st.booleans())]
    chosen = encoded(texts).chosen(offsets)
    assert sent(chosen) == [text for at in offsets if (text := texts[at]) is not None]
    assert len(chosen) == len(sent(chosen))


@given(TEXTS, st.integers(0, 12))
def test_the_digest_does_not_depend_on_where_rows_lie(
    texts: Sequence[str | None], at: int
) -> None:
    """Only on what is sent."""
    pieces = EncodedRows.joined([encoded(texts[:at]), encoded(texts[at:])])
    apart = encoded([None, "x", *texts]).part(2, len(texts) + 2)
    assert pieces.digest() == apart.digest() == encoded(texts).digest()


def test_other_rows_have_another_digest() -> None:
    """Also those of the same text, parted elsewhere."""
    digests = {encoded(texts).digest() for texts in (["ab", "c"], ["a", "bc"], ["ab"])}
    assert len(digests) == 3


def test_each_row_has_a_number() -> None:
    """The same for the same row, wherever it stands; none where it is refused."""
    one, none, two, other = encoded(["a", None, "a", "b"]).digests()
    assert one == two != other
    assert none is None
    assert all(number is not None and 0 <= number < 2**63 for number in (one, other))
