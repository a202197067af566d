"""How many rows of a row group are read at a time, so that memory is bounded.

A value that is written once can stand in every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa

from sutro_stream.formats.parquet_columns import Column
from sutro_stream.formats.parquet_dictionaries import PackedDictionary
from sutro_stream.formats.parquet_indices import PackedIndices
from sutro_stream.formats.parquet_pages import Page
from sutro_stream.formats.parquet_single import CODECS

_LARGEST_BATCH_BYTES = 64 << 20
# Of fewer values the texts are unpacked as fast as what refers to them.
_FEW_VALUES, _MANY_VALUES = 1_000, 1 << 20
_INDICES_BYTES = 8 << 20


def within_dictionaries(raw: BinaryIO, columns: Sequence[Column], stride: int) -> int:
    """The stride, or a smaller one where rows could share a value that is large.

    What stands in a dictionary once can be the value of every row: a file of some KB
    can hold more than there is memory in the world. No value is larger than its
    dictionary; only where that leaves too much open is the dictionary unpacked.
    """
    largest = sum(
        max((page.unpacked_bytes for page in column.dictionaries), default=0)
        for column in columns
    )
    most_bytes = _LARGEST_BATCH_BYTES
    if largest * stride > most_bytes:
        # Each row could be the largest one, however small they are on average.
        share = most_bytes // (2 * len(columns))
        largest = 0
        for column in columns:
            together = _shared_bytes(raw, column, share)
            if together is None:
                largest += _longest_bytes(raw, column)
            else:
                most_bytes -= together
    return min(stride, max(1, most_bytes // max(largest, 1)))


def _shared_bytes(raw: BinaryIO, column: Column, share: int) -> int | None:
    """Most bytes of all rows that refer to a dictionary, `None` if not known at once.

    It is known, and within the share, where hardly any of them have the same value.
    """
    is_nullable = column.is_nullable
    if len(column.dictionaries) != 1 or column.codec not in CODECS:
        return None
    dictionary, pages = column.dictionaries[0], [p for p in column.data if p.refers]
    rows = sum(page.values for page in pages)
    repeated = rows - dictionary.values
    packed_bytes = sum(page.start - page.at + page.packed_bytes for page in pages)
    if is_nullable is None or not (
        _FEW_VALUES <= dictionary.values <= _MANY_VALUES
        and 0 <= repeated <= share // max(dictionary.unpacked_bytes, 1)
        and packed_bytes <= _INDICES_BYTES
        and sum(page.unpacked_bytes for page in pages) <= _INDICES_BYTES
    ):
        return None
    indices = PackedIndices(
        codec=column.codec,
        pages=b"".join(_raw_page(raw, page) for page in pages),
        rows=rows,
        values=dictionary.values,
        is_nullable=is_nullable,
    )
    try:
        together = indices.most_shared() * dictionary.unpacked_bytes
    except (pa.ArrowException, OSError):
        # Whoever reads the column says what is wrong with it.
        return None
    return together if together <= share else None


def _raw_page(raw: BinaryIO, page: Page) -> bytes:
    raw.seek(page.at)
    return raw.read(page.start - page.at + page.packed_bytes)


def _longest_bytes(raw: BinaryIO, column: Column) -> int:
    """Bytes of the longest value that rows share."""
    longest = 0
    for page in column.dictionaries:
        raw.seek(page.start)
        packed = PackedDictionary(
            codec=column.codec,
            data=raw.read(page.packed_bytes),
            unpacked_bytes=page.unpacked_bytes,
            values=page.values,
        )
        longest = max(longest, packed.longest_bytes())
    return longest


def within_pages(columns: Sequence[Column], stride: int) -> int:
    """The stride, or a smaller one for few rows that are much larger than others."""
    held = sum(
        max((page.unpacked_bytes for page in column.data), default=0)
        for column in columns
    )
    most_bytes = max(_LARGEST_BATCH_BYTES, 2 * held)
    while stride > 1:
        if sum(column.worst_bytes(stride) for column in columns) <= most_bytes:
            break
        stride //= 2
    return stride
