"""How many rows of a Parquet file are read at a time, so that memory is bounded.

The footer gives sizes of columns as they are encoded. What they are decoded can be
anything: a value that is written once can stand in every row, and a page of some KB can
unpack to GiB.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from sutro_stream.sources.chunks import CHUNK_BYTES, plain
from sutro_stream.sources.files import InputFile
from sutro_stream.sources.parquet_dictionaries import PackedDictionary
from sutro_stream.sources.parquet_pages import Page, PagesError, pages

_PROBE_ROWS = 16
_LARGEST_BATCH_BYTES = 64 << 20
# Looking at row groups costs up to a third of reading them: not all before the first.
_RUN_ROWS = 65_536

# A page is held whole. Writers make them of 1 MiB, some of a hundred; text that people
# write is packed to a tenth, and what a bomb is made of to a thousandth.
_LARGEST_PAGE_BYTES = 512 << 20
_SUSPICIOUS_BYTES = 64 << 20
_SUSPICIOUS_RATIO = 100

# Nested values of one row are held together, and nothing says how many these are.
_NESTED_BYTES = 256 << 20
_NESTED_RATIO = 1000


def strides(
    file: InputFile, parquet: Any, names: Sequence[str], chunk_rows: int
) -> Generator[tuple[list[int], int], None, None]:
    """Runs of row groups, each with the rows of it that make one chunk. Blocking.

    Rows are rounded down to powers of two so that similar row groups are read in
    one go.

    Args:
        file: The file.
        parquet: The same file, open.
        names: Columns that are read.
        chunk_rows: Most rows of a chunk.

    Raises:
        SourceError: The file needs more memory than is used for any.
        ArrowException: The file is damaged.
        OSError: It is damaged or cannot be read.
    """
    metadata = parquet.metadata
    if metadata.num_rows == 0:
        return
    least_bytes: float | None = None
    run: list[int] = []
    run_rows = run_stride = 0
    with file.path.open("rb", buffering=0) as raw:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            # First of all: looking at dictionaries unpacks them.
            columns = _columns(file, raw, group, names)
            if least_bytes is None:
                least_bytes = _probe(parquet, names) if _has_dictionary(group) else 0.0
            row_bytes = max(_row_bytes(group, names), least_bytes)
            fitting = max(1, int(CHUNK_BYTES / max(row_bytes, 1.0)))
            stride = min(1 << (fitting.bit_length() - 1), chunk_rows)
            stride = _within_dictionaries(raw, columns, stride)
            stride = _within_pages(columns, stride)
            if run and (stride != run_stride or run_rows >= _RUN_ROWS):
                yield run, run_stride
                run, run_rows = [], 0
            run.append(number)
            run_rows += group.num_rows
            run_stride = stride
        yield run, run_stride


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of a row group.

    Attributes:
        rows: Of each data page, about.
        sizes: Of each data page, in bytes.
        dictionaries: Values that the data pages refer to, where those are text; more
            than one page of them in a damaged file only.
        codec: What packs its pages, by pyarrow's name.
        prefixed_bytes: Of the largest page whose values can repeat each other.
    """

    rows: Sequence[float]
    sizes: Sequence[int]
    dictionaries: Sequence[Page]
    codec: str
    prefixed_bytes: int

    def worst_bytes(self, stride: int) -> int:
        """Most bytes of the pages that so many rows lie in, wherever they are."""
        worst = total = first = 0
        between = 0.0  # rows of the pages between the first and the last
        for last, size in enumerate(self.sizes):
            total += size
            if last - 1 > first:
                between += self.rows[last - 1]
            # One row of the first page, one of the last, and all between them.
            while first < last and between > stride - 2:
                total -= self.sizes[first]
                first += 1
                between -= self.rows[first] if first < last else 0.0
            worst = max(worst, total)
        return max(worst, stride * self.prefixed_bytes)


def _within_dictionaries(raw: BinaryIO, columns: Sequence[_Column], stride: int) -> int:
    """The stride, or a smaller one where rows could share a value that is large.

    What stands in a dictionary once can be the value of every row: a file of some KB
    can hold more than there is memory in the world. No value is larger than its
    dictionary; only where that leaves too much open is the dictionary unpacked.
    """
    largest = sum(
        max((page.unpacked_bytes for page in column.dictionaries), default=0)
        for column in columns
    )
    if largest * stride > _LARGEST_BATCH_BYTES:
        # Each row could be the largest one, however small they are on average.
        largest = sum(_longest_bytes(raw, column) for column in columns)
    return min(stride, max(1, _LARGEST_BATCH_BYTES // max(largest, 1)))


def _longest_bytes(raw: BinaryIO, column: _Column) -> int:
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


def _within_pages(columns: Sequence[_Column], stride: int) -> int:
    """The stride, or a smaller one for few rows that are much larger than others."""
    held = sum(max(column.sizes, default=0) for column in columns)
    most_bytes = max(_LARGEST_BATCH_BYTES, 2 * held)
    while stride > 1:
        if sum(column.worst_bytes(stride) for column in columns) <= most_bytes:
            break
        stride //= 2
    return stride


def _columns(
    file: InputFile, raw: BinaryIO, group: Any, names: Sequence[str]
) -> list[_Column]:
    """The columns of a row group that are read.

    Raises:
        SourceError: One of them is a bomb.
        ArrowInvalid: What stands in front of a page makes no sense.
    """
    columns = []
    wanted = frozenset(names)
    for column in _wanted(group, names):
        try:
            there = list(pages(raw, column))
        except PagesError as error:
            raise pa.ArrowInvalid("no page where one should begin") from error
        _check(file, column, there)
        columns.append(_measured(column, there, group.num_rows, wanted))
    return columns


def _measured(
    column: Any, there: Sequence[Page], num_rows: int, wanted: frozenset[str]
) -> _Column:
    data = [page for page in there if not page.is_dictionary]
    # Values of other types have a size of their own, however often they come; for
    # nested ones there is another rule.
    is_text = column.physical_type == "BYTE_ARRAY" and column.path_in_schema in wanted
    # Of a nested column some values make one row.
    share = num_rows / max(column.num_values, 1)
    return _Column(
        rows=[page.values * share for page in data],
        sizes=[page.unpacked_bytes for page in data],
        dictionaries=[page for page in there if page.is_dictionary and is_text],
        codec=column.compression,
        prefixed_bytes=max(
            (page.unpacked_bytes for page in data if page.is_prefixed), default=0
        ),
    )


def _check(file: InputFile, column: Any, there: Sequence[Page]) -> None:
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


def _wanted(group: Any, names: Sequence[str]) -> list[Any]:
    """Those columns of a row group that are read."""
    wanted = frozenset(names)
    columns = [group.column(at) for at in range(group.num_columns)]
    return [
        column
        for column in columns
        if column.path_in_schema in wanted
        or column.path_in_schema.partition(".")[0] in wanted
    ]


def _row_bytes(group: Any, names: Sequence[str]) -> float:
    """Uncompressed bytes of one row in the columns read, on average."""
    size = sum(column.total_uncompressed_size for column in _wanted(group, names))
    return float(size / max(group.num_rows, 1))


def _has_dictionary(group: Any) -> bool:
    return any(group.column(at).has_dictionary_page for at in range(group.num_columns))


def _probe(parquet: Any, names: Sequence[str]) -> float:
    """Decoded bytes of one of the first rows, on average.

    With dictionaries the metadata tells the size of the distinct values only: a
    file of some KB can hold GB of repeated text.
    """
    batches = parquet.iter_batches(_PROBE_ROWS, columns=names, use_threads=False)
    batch = next(batches, None)
    if batch is None or not batch.num_rows:
        return 0.0
    size = sum(plain(column).nbytes for column in batch.columns)
    return float(size / batch.num_rows)
