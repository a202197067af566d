"""The rows of a job as a source, and the way from rows to prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anyio import to_thread

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.stage import Stage
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.jobs.config import UrlPolicy
from sutro_stream.jobs.dataset_source import DatasetSource
from sutro_stream.jobs.datasets import DatasetStore
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.intake import PROMPT, RENDERED
from sutro_stream.jobs.targets import Target
from sutro_stream.rendering.columns import Prompts
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.mixed import RenderMixed
from sutro_stream.rendering.newlines import FlattenNewlines
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.source import Source
from sutro_stream.sources.url import UrlSource
from sutro_stream.storage.download import download
from sutro_stream.storage.files import LocalFile
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.job import InputKind, JobSpec

# The end of a row is looked for under the interpreter's lock, as long as the row is.
_LONGEST_ROW_BYTES = 4 << 20


async def open_source(
    spec: JobSpec, files: JobFolder, *, urls: UrlPolicy, datasets: DatasetStore
) -> Source:
    """The rows of a job; a file behind an address is fetched once and kept.

    Cancellation: a download stops, and nothing of it stays.

    Raises:
        SourceError: The file cannot be had.
        ConfigurationError: The address is none, or is not allowed.
        ApiError: The dataset is not there any more.
    """
    reference = spec.input.reference
    if spec.input.kind is InputKind.ROWS:
        return FileSource(paths=[files.rows], format="parquet")
    if reference is None:
        raise ConfigurationError("the job's input is not known any more")
    if spec.input.kind is InputKind.DATASET:
        found = await to_thread.run_sync(datasets.paths, spec.account, reference)
        kept = await to_thread.run_sync(datasets.files, spec.account, reference)
        # A file that was added between the two is for the next job.
        named = [
            LocalFile(path=path, label=f"{reference}: {file.name}")
            for path, file in zip(found, kept, strict=False)
        ]
        return DatasetSource(name=reference, files=named)
    source = UrlSource(
        url=reference,
        options=CsvOptions(max_row_bytes=_LONGEST_ROW_BYTES),
        max_bytes=urls.max_bytes,
        timeout_s=urls.timeout_s,
        allow_private=urls.allow_private,
        keep_in=files.root,
    )
    # Now, so that everything that follows opens the file that is there.
    await download(source, files.root)
    return source


async def count_rows(source: Source) -> int:
    """How many rows there are, read through where the source does not know.

    Raises:
        SourceError: The input cannot be read.
    """
    async with source.open(frozenset()) as reader:
        if reader.row_count is not None:
            return reader.row_count
        rows = 0
        while (batch := await reader.read()) is not None:
            rows += len(batch)
        return rows


def preparing(spec: JobSpec, *, flatten_newlines: bool) -> tuple[Stage[Any], ...]:
    """Stages between a job's source and its prompts."""
    if not flatten_newlines or spec.input.kind is not InputKind.URL:
        return ()
    spared = () if spec.id_column is None else (spec.id_column,)
    return (FlattenNewlines(spared=frozenset(spared)),)


async def prompting(
    spec: JobSpec,
    target: Target,
    source: Source,
    instructions: Instructions,
) -> Stage[Any]:
    """The stage that makes prompts of a job's rows.

    Raises:
        SourceError: The input cannot be read.
    """
    function = target.function
    if spec.input.kind is InputKind.ROWS:
        if function is None:
            return Prompts(column=PROMPT, instructions=instructions)
        effective = replace(function, instructions=instructions)
        return RenderMixed(function=effective, rendered_column=RENDERED)
    async with source.open(None) as reader:
        names: list[str] = reader.schema.names
    if function is not None:
        return Render(function=_of_cells(function, instructions, names))
    if not names:
        raise ConfigurationError("the input file has no columns")
    return Prompts(column=spec.column or names[0], instructions=instructions)


def _of_cells(
    function: Function, instructions: Instructions, names: Sequence[str]
) -> Function:
    """The Function over the cells of a file, where no value is an empty one.

    Raises:
        ConfigurationError: A column is missing.
    """
    missing = [
        declared.name
        for declared in function.inputs
        if declared.required and declared.default is None and declared.name not in names
    ]
    if missing:
        raise ConfigurationError(
            f"the input file has no column {', '.join(map(repr, missing))}, which the "
            f"Function {function.name!r} requires (there are: {', '.join(names)})"
        )
    inputs = tuple(
        replace(declared, default="") if declared.default is None else declared
        for declared in function.inputs
    )
    return replace(function, inputs=inputs, instructions=instructions)
