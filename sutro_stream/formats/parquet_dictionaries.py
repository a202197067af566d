"""The longest value in a Parquet dictionary: what any row that refers to it may be.

A dictionary page is written like a page of ordinary values. So its packed bytes are put
behind the header of a data page, in a file of one column that lies in memory, and
Arrow's reader decodes them. Asking that reader for the dictionary itself takes several
times as long: it hashes every value.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.formats.parquet_single import (
    CODECS,
    plain_page,
    read_single,
    single_column,
)

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDictionary:
    """The dictionary of one text column in one row group, as the file holds it.

    Attributes:
        codec: What packed it, by pyarrow's name.
        data: Packed.
        unpacked_bytes: As its header says.
        values: In it, as its header says.
    """

    codec: str
    data: bytes
    unpacked_bytes: int
    values: int

    def longest_bytes(self) -> int:
        """Bytes of its longest value; of all of it, where it cannot be unpacked here.

        Pure.

        Raises:
            ArrowException: The values are damaged.
            OSError: They cannot be unpacked.
        """
        if _LENGTH_BYTES * self.values > self.unpacked_bytes:
            # Arrow would make room for all of them before it notices.
            raise pa.ArrowInvalid("a dictionary of more values than fit into it")
        if self.codec not in CODECS or not self.values:
            return self.unpacked_bytes
        page = plain_page(
            self.data, unpacked_bytes=self.unpacked_bytes, values=self.values
        )
        file = single_column(
            page, physical_type="BYTE_ARRAY", codec=self.codec, values=self.values
        )
        return int(pc.max(pc.binary_length(read_single(file))).as_py())
