"""The columns of one row group of a Parquet file: their pages, and what is refused.

The footer gives sizes of columns as they are encoded. What they are decoded can be
anything, and a page of some KB can unpack to GiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from sutro_stream.formats.parquet_pages import Page, PagesError, pages
from sutro_stream.storage.files import LocalFile

# A page is held whole. Writers make them of 1 MiB, some of a hundred; text that people
# write is packed to a tenth, and what a bomb is made of to a thousandth.
_LARGEST_PAGE_BYTES = 512 << 20
_SUSPICIOUS_BYTES = 64 << 20
_SUSPICIOUS_RATIO = 100

# Nested values of one row are held together, and nothing says how many these are.
_NESTED_BYTES = 256 << 20
_NESTED_RATIO = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a row group.

    Attributes:
        pages: In their order.
        rows_a_value: Rows that a value makes.
        dictionaries: Values that the data pages refer to, where those are text; more
            than one page of them in a damaged file only.
        codec: What packs its pages, by pyarrow's name.
        is_nullable: See `_flat_columns`; `None` for a column with nesting.
    """

    pages: Sequence[Page]
    rows_a_value: float
    dictionaries: Sequence[Page]
    codec: str
    is_nullable: bool | None

    @property
    def data(self) -> list[Page]:
        """Its data pages."""
        return [page for page in self.pages if not page.is_dictionary]

    @property
    def held_bytes(self) -> int:
        """Of its largest page, and of its dictionary."""
        largest = max((page.unpacked_bytes for page in self.data), default=0)
        return largest + sum(page.unpacked_bytes for page in self.dictionaries)

    def worst_bytes(self, stride: int) -> int:
        """Most bytes of the pages that so many rows lie in, wherever they are."""
        data = self.data
        rows = [page.values * self.rows_a_value for page in data]
        worst = total = first = 0
        between = 0.0  # rows of the pages between the first and the last
        for last, page in enumerate(data):
            total += page.unpacked_bytes
            if last - 1 > first:
                between += rows[last - 1]
            # One row of the first page, one of the last, and all between them.
            while first < last and between > stride - 2:
                total -= data[first].unpacked_bytes
                first += 1
                between -= rows[first] if first < last else 0.0
            worst = max(worst, total)
        prefixed = (page.unpacked_bytes for page in data if page.is_prefixed)
        return max(worst, stride * max(prefixed, default=0))


def read_columns(
    file: LocalFile,
    raw: BinaryIO,
    group: Any,
    names: Sequence[str],
    flat: Mapping[str, bool],
) -> list[Column]:
    """The columns of a row group that are read.

    Args:
        file: The file.
        raw: The same file, open.
        group: Metadata of the row group.
        names: Columns that are read.
        flat: See `flat_columns`.

    Raises:
        SourceError: One of them is a bomb.
        ArrowInvalid: What stands in front of a page makes no sense.
    """
    columns = []
    wanted = frozenset(names)
    for column in wanted_columns(group, names):
        try:
            there = list(pages(raw, column))
        except PagesError as error:
            raise pa.ArrowInvalid("no page where one should begin") from error
        _check(file, column, there)
        # Values of other types have a size of their own, however often they come; for
        # nested ones there is another rule.
        is_text = (
            column.physical_type == "BYTE_ARRAY" and column.path_in_schema in wanted
        )
        columns.append(
            Column(
                pages=there,
                # Of a nested column some values make one row.
                rows_a_value=group.num_rows / max(column.num_values, 1),
                dictionaries=[page for page in there if page.is_dictionary and is_text],
                codec=column.compression,
                is_nullable=flat.get(column.path_in_schema),
            )
        )
    return columns


def _check(file: LocalFile, column: Any, there: Sequence[Page]) -> None:
    """Refuse what needs too much memory at a time, however few rows are read."""
    name = column.path_in_schema.partition(".")[0]
    for page in there:
        size, ratio = (
            page.unpacked_bytes,
            page.unpacked_bytes / max(page.packed_bytes, 1),
        )
        if size > _LARGEST_PAGE_BYTES or (
            size > _SUSPICIOUS_BYTES and ratio > _SUSPICIOUS_RATIO
        ):
            raise file.error(
                f"column {name!r}: a page of {page.packed_bytes:,} bytes unpacks to "
                f"{size:,}, which is too much; write it with pages of 1 MiB"
            )
    if "." not in column.path_in_schema:
        return
    size = sum(page.unpacked_bytes for page in there)
    for page in there:
        if page.is_dictionary:
            mean_bytes = page.unpacked_bytes / max(page.values, 1)
            size += int(column.num_values * mean_bytes)
    packed_bytes = sum(page.packed_bytes for page in there)
    if size > _NESTED_BYTES and size > _NESTED_RATIO * packed_bytes:
        raise file.error(
            f"column {name!r}: nested values of {packed_bytes:,} bytes unpack to about "
            f"{size:,}, which is too much; write it in smaller row groups"
        )


def flat_columns(parquet: Any) -> dict[str, bool]:
    """Columns without nesting, and whether their values may be null."""
    schema = parquet.schema
    leaves = [schema.column(at) for at in range(len(schema))]
    return {
        leaf.path: leaf.max_definition_level == 1
        for leaf in leaves
        if leaf.max_repetition_level == 0 and leaf.max_definition_level <= 1
    }


def wanted_columns(group: Any, names: Sequence[str]) -> list[Any]:
    """Those columns of a row group that are read."""
    wanted = frozenset(names)
    columns = [group.column(at) for at in range(group.num_columns)]
    return [
        column
        for column in columns
        if column.path_in_schema in wanted
        or column.path_in_schema.partition(".")[0] in wanted
    ]
