"""Files that are not what they say: corrupt, encrypted, endless, or larger inside."""

from __future__ import annotations

import gzip
import io
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from sutro_stream.sources.files import FileSource

GROWTH_BYTES = 400 << 20
ENDS_S = 40.0


def parquet(column: Any, **options: Any) -> bytes:
    """A file of one column."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": column}), sink, **options)
    return sink.getvalue()


GOOD = parquet(pa.array(["a", "b", "c"] * 100))
_ENCRYPTED = b"PARE" + GOOD[4:-4] + b"PARE"


def repeated(value: str, rows: int) -> bytes:
    """A small file of a value that is written once and stands in every row."""
    column = pa.DictionaryArray.from_arrays(
        pa.array([0] * 100 + [1] * rows, pa.int32()), pa.array(["x", value])
    )
    return parquet(column, compression="zstd", dictionary_pagesize_limit=1 << 30)


def changed(seed: int, *, footer: bool) -> bytes:
    """A good file with some bytes of its footer, or of its data, drawn anew."""
    draw = random.Random(seed)
    data = bytearray(GOOD)
    length = int.from_bytes(data[-8:-4], "little")
    first, last = (
        (len(data) - 8 - length, len(data) - 8)
        if footer
        else (4, len(data) - 8 - length)
    )
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(first, last)] = draw.randrange(256)
    return bytes(data)


NOT_PARQUET = {
    "nothing": b"",
    "text": b"text\na\n",
    "the ends alone": b"PAR1PAR1",
    "NULs between the ends": b"PAR1" + b"\0" * 1000 + b"PAR1",
    "a footer of 4 GB": GOOD[:-8] + b"\xff\xff\xff\xff" + b"PAR1",
    "a footer of nothing": GOOD[:-8] + b"\0\0\0\0" + b"PAR1",
    "its end missing": GOOD[:-20],
    "an encrypted one": _ENCRYPTED,
    "no columns": b"PAR1"
    + (footer := b"\x15\x04\x19\x1cH\x06schema\x15\x00\x00\x16\x00\x19\x0c\x00")
    + struct.pack("<I", len(footer))
    + b"PAR1",
}

NAMES = [
    "../x.parquet",
    "a/b.parquet",
    "..\\x",
    "..",
    ".",
    " ",
    "\0",
    "x" * 300,
    "a\nb",
]


async def upload(client: Any, data: bytes, name: str = "a.parquet") -> tuple[str, Any]:
    """Add a file to a new dataset; its ID, and what is answered."""
    dataset_id = (await client.ask("GET", "/v1/create-dataset")).json["dataset_id"]
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("dataset_id", dataset_id)
    form.add_field("file", io.BytesIO(data), filename=name)
    return dataset_id, await client.ask("POST", "/v1/upload-to-dataset", data=form)


@pytest.mark.parametrize("data", NOT_PARQUET.values(), ids=NOT_PARQUET.keys())
@pytest.mark.usefixtures("beside")
async def test_what_is_no_parquet_is_not_taken(
    client: Any, told: Any, data: bytes
) -> None:
    """And is not kept."""
    dataset_id, answer = await upload(client, data)
    assert told(answer, client.site) == (422, "not_parquet")
    assert not (client.site.folder / "datasets" / dataset_id).exists()


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.usefixtures("beside")
async def test_a_name_that_leads_elsewhere_is_not_taken(
    client: Any, told: Any, name: str
) -> None:
    """Whatever it leads to; clients make paths of it."""
    if "\n" in name or "\0" in name:
        escaped = name.encode("unicode_escape").decode()
        name = escaped.replace("\\n", "%0A").replace("\\x00", "%00")
        dataset_id, answer = await upload(client, GOOD, name)
        if answer.status == 200:
            listed = await client.ask(
                "POST", "/v1/list-dataset-files", json={"dataset_id": dataset_id}
            )
            assert listed.json["files"] == [name]
            return
    else:
        _, answer = await upload(client, GOOD, name)
    assert told(answer, client.site)[0] in {400, 422}


@pytest.mark.parametrize("footer", [True, False], ids=["footer", "data"])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.usefixtures("beside")
async def test_a_file_with_some_bytes_drawn_anew(
    client: Any, told: Any, seed: int, footer: bool
) -> None:
    """It is refused, or its job ends, well or with a reason."""
    dataset_id, answer = await upload(client, changed(seed, footer=footer))
    if answer.status != 200:
        assert told(answer, client.site) == (422, "not_parquet")
        return
    await ends(client, dataset_id, column_name="text", job_priority=1)


async def ends(client: Any, inputs: str, **fields: Any) -> dict[str, Any]:
    """The job over some inputs once it has ended, within bounds of time and memory."""
    process = psutil.Process(client.site.pid)
    before = process.memory_info().rss
    with anyio.fail_after(ENDS_S):
        submitted = await client.submit(inputs, **fields)
        if submitted.status != 200:
            return {"status": submitted.status}
        job: dict[str, Any] = await client.ended(submitted.json["results"])
    assert process.memory_info().rss - before < GROWTH_BYTES
    assert job["status"] in {"SUCCEEDED", "FAILED"}
    if job["status"] == "FAILED":
        told = job["failure_reason"]["message"]
        assert str(client.site.folder) not in told
        assert "Traceback" not in told
    return job


FILES: dict[str, bytes] = {
    "empty.csv": b"",
    "header.csv": b"text\n",
    "page.csv": b"<!doctype html><p>Log in</p>",
    "open.csv": b'text\n"never closed' + b"\nx" * 100_000,
    "quotes.csv": b'text\n"a"b"c"\n',
    "nul.csv": b"text\n\0\0\0\n",
    "latin.csv": b"text\n\xe9\xff\n",
    "utf16.csv": "text\nx\n".encode("utf-16"),
    "ragged.csv": b"text,b\n1\n1,2,3,4\n",
    "wide.csv": b",".join(b"c%d" % at for at in range(100_000)) + b"\n1\n",
    "twice.csv": b"text,text\n1,2\n",
    "long.csv": b"text\n" + b"x" * 900_000 + b"\n",
    "cut.csv.gz": gzip.compress(b"text\n" + b"row\n" * 100_000)[:-50],
    "no.csv.gz": b"no gzip",
    "large.csv": b"text\n" + b"x" * 1_000_001,
    "encrypted.parquet": _ENCRYPTED,
    "cut.parquet": GOOD[:-20],
    "csv.parquet": b"text\nx\n",
    "nulls.parquet": parquet(pa.nulls(2_000_000, pa.string())),
    "nested.parquet": parquet(pa.array([[["a"]]] * 10)),
    "binary.parquet": parquet(pa.array([b"\xff\xfe"] * 10)),
}

# Their beginning, and what goes on for so many MiB: packed where they are wanted, for
# that takes a second each, and every process that runs tests reads this file.
BOMBS = {
    "line.csv.gz": (b"text\n", b"x", 300),
    "fields.csv.gz": (b"text\n", b",", 100),
    "open.csv.gz": (b'text\n"', b"x\n", 200),
}


def bomb(start: bytes, unit: bytes, mib: int) -> bytes:
    """A small file that is large inside."""
    return gzip.compress(start + unit * ((mib << 20) // len(unit)))


async def test_a_value_that_stands_in_every_row_is_read_a_few_rows_at_a_time(
    tmp_path: Path,
) -> None:
    """However small the file and the rows before them are."""
    path = tmp_path / "repeated.parquet"
    path.write_bytes(repeated("a" * (8 << 20), 100_000))
    assert path.stat().st_size < 10_000
    async with FileSource(paths=[path]).open(None) as reader:
        rows = 0
        while rows < 150:
            records = await reader.read()
            assert records is not None
            assert records.records.nbytes <= 64 << 20
            rows += len(records)


async def test_a_value_that_would_fill_the_memory_fails_its_job(client: Any) -> None:
    """With the reason, and before anything of it is unpacked."""
    huge = parquet(
        pa.array(["a" * (100 << 20)], pa.large_string()),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )
    dataset_id, answer = await upload(client, huge)
    assert answer.status == 200
    job = await ends(client, dataset_id, column_name="text", job_priority=1)
    assert "which is too much" in job["failure_reason"]["message"]


@pytest.fixture
async def shelf() -> AsyncIterator[str]:
    """Address of a folder of these, and of files that lie about their length."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        name = request.path[1:]
        if name == "short.csv":
            return await lie(request, 10, b"text\n" + b"x\n" * 1000)
        if name == "more.csv":
            return await lie(request, 1_000_000, b"text\nx\n")
        if name == "endless.csv":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"row\n" * 10_000)
        if name in BOMBS:
            return web.Response(body=io.BytesIO(bomb(*BOMBS[name])))
        if name not in FILES:
            return web.Response(status=404)
        return web.Response(body=io.BytesIO(FILES[name]))

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def lie(request: web.BaseRequest, length: int, body: bytes) -> web.StreamResponse:
    """Another length than the body has."""
    assert request.transport is not None
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    request.transport.write(head + body)
    request.transport.close()
    raise ConnectionResetError


@pytest.mark.parametrize(
    "name", [*FILES, *BOMBS, "short.csv", "more.csv", "endless.csv", "missing.csv"]
)
async def test_a_job_over_a_hostile_file_ends(
    trusted: Any, shelf: str, name: str
) -> None:
    """Well or with a reason, in bounded time and memory; the next one is answered."""
    await ends(trusted, f"{shelf}/{name}", job_priority=1)
    assert await trusted.succeeded()
