"""Results of a job as a client gets them: columns, links to files, single outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import pyarrow as pa

from sutro_stream.errors import ProtocolError
from sutro_stream.wire.responses import json_fields

OUTPUTS = "outputs"
"""The column that every job's results have."""

_ENVELOPE_KEY = '"reasoning_content"'


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsLink:
    """Where a job's results can be had as a file, for a while, without a key.

    Attributes:
        url: A secret: whoever has it has the file.
        size_bytes: Of the file, `None` where the deployment does not say.
    """

    url: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The answer to one row.

    Attributes:
        text: As the model wrote it; lists (embeddings, several answers) as JSON.
            `None` where it did not come to an answer.
        reasoning: The model's thinking, `None` where there is none.
    """

    text: str | None
    reasoning: str | None = None


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    reasoning_content: str | None
    content: msgspec.Raw


def parse_results(body: bytes) -> Mapping[str, Sequence[Any]]:
    """The columns of results in JSON, `outputs` among them.

    Raises:
        ProtocolError: There are no outputs, or columns differ in length.
    """
    fields = json_fields(body, what="job's results")
    columns = fields.get("results", fields)
    if isinstance(columns, list):
        columns = {OUTPUTS: columns}
    if not isinstance(columns, dict) or not isinstance(columns.get(OUTPUTS), list):
        raise ProtocolError("the deployment's answer holds no outputs of a job")
    rows = len(columns[OUTPUTS])
    found = {name: cells for name, cells in columns.items() if isinstance(cells, list)}
    if any(len(cells) != rows for cells in found.values()):
        raise ProtocolError("the columns of the job's results differ in length")
    return found


def parse_results_link(body: bytes) -> ResultsLink:
    """Where the results of a job lie."""
    fields = json_fields(body, what="link to a job's results")
    urls, artifact = fields.get("urls"), fields.get("artifact")
    url = urls.get("get") if isinstance(urls, Mapping) else None
    size = artifact.get("size_bytes") if isinstance(artifact, Mapping) else None
    if not isinstance(url, str) or not url:
        raise ProtocolError("the deployment gave no link to the job's results")
    known = isinstance(size, int) and not isinstance(size, bool) and size > 0
    return ResultsLink(url=url, size_bytes=size if known else None)


def is_plain_text(cells: pa.Array) -> bool:
    """Whether `read_output` would give each cell back as it is, as text.

    Args:
        cells: Of any type.
    """
    if not pa.types.is_large_string(cells.type) or cells.null_count:
        return False
    _, offsets, data = cells.buffers()
    if data is None:
        return True
    places = memoryview(offsets).cast("q")
    start, end = places[cells.offset], places[cells.offset + len(cells)]
    return _ENVELOPE_KEY.encode() not in data.slice(start, end - start).to_pybytes()


def read_output(cell: Any) -> Output | None:
    """One cell of the outputs; `None` for a row that has no answer.

    Models that think have their answer in an envelope beside their thinking, which
    is opened here.
    """
    if cell is None:
        return None
    if not isinstance(cell, str):
        return Output(text=orjson.dumps(cell).decode())
    if _ENVELOPE_KEY not in cell:
        return Output(text=cell)
    try:
        envelope = msgspec.json.decode(cell, type=_Envelope)
    except (msgspec.DecodeError, RecursionError):
        return Output(text=cell)
    content = bytes(envelope.content)
    if content == b"null":
        return Output(text=None, reasoning=envelope.reasoning_content)
    is_text = content.startswith(b'"')
    text = msgspec.json.decode(content, type=str) if is_text else content.decode()
    return Output(text=text, reasoning=envelope.reasoning_content)
