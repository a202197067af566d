"""How often rows share a value of a Parquet dictionary, by what they refer to it with.

A dictionary lists values in the order in which they first occur. In a column of texts
that are all different, row by row refers to the next one. That is seen without the
texts, in a fifth of the time that unpacking them takes.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.formats.parquet_single import (
    dictionary_page,
    read_single,
    single_column,
)

_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedIndices:
    """Those data pages of a column without nesting that refer to its dictionary.

    Attributes:
        codec: What packed them, one of `parquet_single.CODECS`.
        pages: With their headers, one behind the other.
        rows: Of these pages, as their headers say; at most some million.
        values: In the dictionary, as its header says; likewise.
        is_nullable: Whether the pages tell which rows have no value.
    """

    codec: str
    pages: bytes
    rows: int
    values: int
    is_nullable: bool

    def most_shared(self) -> int:
        """How many of these rows can have the same value, at most.

        Pure.

        Raises:
            ArrowException: The pages are damaged.
            OSError: They cannot be unpacked.
        """
        # The same pages, read as those of a column of numbers, have the numbers of the
        # values. More of these than there are do no harm: the column cannot be read.
        room = 1 << max(self.values - 1, 1).bit_length()
        file = single_column(
            self.pages,
            dictionary=_numbers(room, self.codec),
            physical_type="INT32",
            codec=self.codec,
            values=self.rows,
            is_nullable=self.is_nullable,
        )
        numbers = read_single(file).drop_null().combine_chunks()
        if not len(numbers):
            return 0
        steps = pc.subtract(numbers[1:], numbers[:-1])
        usual = pc.sum(pc.equal(steps, 1)).as_py() or 0
        # Between two steps to something else than the next one, no number comes twice.
        return len(numbers) - usual


# Some sizes, and so some MiB at most, come again and again.
@lru_cache(maxsize=4)
def _numbers(count: int, codec: str) -> bytes:
    """A dictionary of the numbers from 0 on."""
    numbers = array("i", range(count))
    if sys.byteorder == "big":
        numbers.byteswap()
    data = numbers.tobytes()
    if codec != "UNCOMPRESSED":
        data = pa.compress(data, codec=codec.lower(), asbytes=True)
    return dictionary_page(data, unpacked_bytes=_NUMBER_BYTES * count, values=count)
