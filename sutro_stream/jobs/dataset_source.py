"""The rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import CHUNK_ROWS
from sutro_stream.formats.format import Told
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.storage.files import LocalFile


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSource:
    """A `Source` of Parquet files that messages call by their names in the dataset.

    Where they lie is the server's own affair.

    Attributes:
        name: ID of the dataset.
        files: In the order of their upload.
    """

    name: str
    files: Sequence[LocalFile]

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """See `Source`."""
        return open_threaded(
            partial(self._prepare, columns),
            chunk_rows=CHUNK_ROWS,
            may_be_empty=False,
            name=self.name,
        )

    def _prepare(self, asked: frozenset[str] | None) -> ReadPlan:
        if not self.files:
            raise SourceError(f"{self.name}: the dataset has no files", path=self.name)
        source = FileSource(paths=(), format="parquet")
        return source.plan(self.files, asked, Told())
