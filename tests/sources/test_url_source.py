import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.sources.url import UrlSource
from sutro_stream.testing.source_suite import (
    SourceSuite,
    TextRow,
    open_files,
    read_refused,
    read_rows,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]

CSV = b"a,b\n" + b"1,2\n" * 50_000
ROWS = 50_000
TAGGED = {"ETag": '"v1"'}
AT_ONCE = RetryPolicy(attempts=4, first_delay_s=0)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server on the loopback interface and returns its address."""
    runners: list[web.ServerRunner] = []

    async def start(handler: Handler) -> str:
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site.name.replace(":0", f":{runner.addresses[0][1]}")

    yield start
    for runner in runners:
        await runner.cleanup()


async def _cut(request: web.Request) -> None:
    """Close the connection when the client, in the same loop, has taken all.

    aiohttp's client drops what it has not handed out when a connection breaks.
    """
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
    assert request.transport is not None
    request.transport.close()


class FlakyFile:
    """A file behind a server that cuts connections.

    Attributes:
        ranges: The Range header of every request, `None` for none.
    """

    def __init__(
        self,
        content: bytes,
        *cuts: int,
        headers: Mapping[str, str] | None = None,
        ranges: bool = True,
    ) -> None:
        self.content = content
        self.headers = headers or {}
        self.ranges: list[str | None] = []
        self._cuts = list(cuts)
        self._serves_ranges = ranges

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send the file or the rest of it, and cut off as planned."""
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        start = 0
        if wanted and self._serves_ranges and self._is_same(request):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        total = len(self.content)
        if start >= total:
            headers = {"Content-Range": f"bytes */{total}"}
            return web.Response(status=416, headers=headers)
        response = web.StreamResponse(status=206 if start else 200)
        response.headers.update(self.headers)
        response.content_length = total - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        await response.prepare(request)
        if not self._cuts:
            await response.write(self.content[start:])
            return response
        await response.write(self.content[start : self._cuts.pop(0)])
        await _cut(request)
        return response

    def _is_same(self, request: web.Request) -> bool:
        condition = request.headers.get("If-Range")
        return condition in (
            self.headers.get("ETag"),
            self.headers.get("Last-Modified"),
        )


async def _error(source: UrlSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await read_rows(source)
    return caught.value


def _answer(**response: Any) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(**response)

    return answer


def _parquet(rows: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": range(rows)}), file)
    return file.getvalue()


class TestUrlSource(SourceSuite):
    """The contract of all sources, over HTTP."""

    @pytest.fixture(autouse=True)
    async def _server(self, serve: Serve) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=self.content)

        self.url = await serve(answer)

    def make_source(self, rows: list[TextRow], tmp_path: Path) -> UrlSource:  # noqa: ARG002 - as inherited
        """A Parquet file that the server keeps in memory."""
        schema = pa.schema([(name, pa.string()) for name in rows[0]])
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema), file)
        self.content = file.getvalue()
        return UrlSource(url=self.url)

    # The server's own files come and go beside the source's.
    async def test_cancelling_while_opening_leaves_nothing(
        self, tmp_path: Path
    ) -> None:
        """Not even a temporary folder is made."""
        source = self.make_source([{"a": "1"}], tmp_path)
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with source.open(None):
                pytest.fail("the context must not be entered")
        assert scope.cancelled_caught


async def test_csv_is_read(serve: Serve) -> None:
    """With the options for CSV."""
    url = await serve(_answer(body=b"a;b\n1;\n", content_type="text/csv"))
    options = CsvOptions(delimiter=";", empty="empty")
    assert await read_rows(UrlSource(url=url, options=options)) == [{"a": "1", "b": ""}]


async def test_compressed_csv_is_read(serve: Serve) -> None:
    """As it is on disk."""
    url = await serve(_answer(body=gzip.compress(b"a\n1\n")))
    assert await read_rows(UrlSource(url=f"{url}/a.csv.gz")) == [{"a": "1"}]


async def test_csv_that_the_server_packs_is_read(serve: Serve) -> None:
    """Though it was asked to send the file as it is."""
    body, headers = gzip.compress(b"a\n1\n"), {"Content-Encoding": "gzip"}
    url = await serve(_answer(body=body, headers=headers))
    assert await read_rows(UrlSource(url=f"{url}/a.csv")) == [{"a": "1"}]


async def test_parquet_is_found_by_its_content(serve: Serve) -> None:
    """Behind an address and a content type that tell nothing, or lie."""
    for content_type in ("application/octet-stream", "text/csv", "text/html"):
        url = await serve(_answer(body=_parquet(3), content_type=content_type))
        assert len(await read_rows(UrlSource(url=url))) == 3


async def test_columns_are_declared_and_asked_for(serve: Serve) -> None:
    """As for files."""
    url = await serve(_answer(body=b"a,b,c\n1,2,3\n", content_type="text/csv"))
    source = UrlSource(url=url, columns=["b", "c"])
    assert await read_rows(source, {"a", "b"}) == [{"b": "2"}]


async def test_redirects_are_followed(serve: Serve) -> None:
    """And the address they end at tells the format."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/real.csv":
            return web.Response(body=b"a\n1\n")
        return web.Response(status=302, headers={"Location": "/real.csv?x=%2F"})

    url = await serve(answer)
    assert await read_rows(UrlSource(url=f"{url}/download")) == [{"a": "1"}]


async def test_redirects_come_to_an_end(serve: Serve) -> None:
    """A circle of them is an error."""
    url = await serve(_answer(status=302, headers={"Location": "/again?key=secret"}))
    error = await _error(UrlSource(url=f"{url}/a.csv?key=secret"))
    assert str(error) == f"{url}/a.csv: more than 5 redirects"


@pytest.mark.parametrize(
    "headers",
    [TAGGED, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}],
)
async def test_a_cut_download_goes_on_where_it_stopped(
    serve: Serve, headers: dict[str, str]
) -> None:
    """As often as allowed, and every byte is asked for once."""
    file = FlakyFile(CSV, 70_000, 70_000 + 1, 150_000, headers=headers)
    url = await serve(file)
    assert len(await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))) == ROWS
    assert file.ranges == [None, "bytes=70000-", "bytes=70001-", "bytes=150000-"]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}])
async def test_without_a_version_a_cut_download_begins_anew(
    serve: Serve, headers: dict[str, str]
) -> None:
    """Parts of two versions must not be joined."""
    file = FlakyFile(CSV, 70_000, headers=headers)
    url = await serve(file)
    assert len(await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))) == ROWS
    assert file.ranges == [None, None]


async def test_a_server_without_ranges_begins_anew(serve: Serve) -> None:
    """It sends the whole file again."""
    file = FlakyFile(CSV, 70_000, 10, ranges=False, headers=TAGGED)
    url = await serve(file)
    assert len(await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))) == ROWS


async def test_a_file_that_changes_is_read_in_its_new_version(serve: Serve) -> None:
    """Nothing of the old one is left in it."""
    file = FlakyFile(CSV, 70_000, headers=TAGGED)

    async def answer(request: web.Request) -> web.StreamResponse:
        if file.ranges:
            file.content, file.headers = b"a\nnew\n", {"ETag": '"v2"'}
        return await file(request)

    url = await serve(answer)
    rows = await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))
    assert rows == [{"a": "new"}]


async def test_a_download_that_is_always_cut_is_given_up(serve: Serve) -> None:
    """After the attempts of the policy, with what arrived."""
    file = FlakyFile(CSV, *[at * 10_000 for at in range(1, 9)], headers=TAGGED)
    url = await serve(file)
    error = await _error(UrlSource(url=f"{url}/a.csv?key=secret", retry=AT_ONCE))
    assert str(error) == (
        f"{url}/a.csv: the connection was cut after 40000 of {len(CSV)} bytes; "
        "gave up after 4 attempts"
    )
    assert len(file.ranges) == 4


async def test_a_length_that_is_too_large_is_found_out(serve: Serve) -> None:
    """The server says itself that there is no more."""
    requests = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        if request.headers.get("Range"):
            return web.Response(status=416, headers={"Content-Range": "bytes */4"})
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Length": "99"})
        await response.prepare(request)
        await response.write(b"a\n1\n")
        await _cut(request)
        return response

    url = await serve(answer)
    rows = await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))
    assert (rows, requests) == ([{"a": "1"}], 2)


async def test_a_body_without_a_length_is_read(serve: Serve) -> None:
    """Chunked, as generated files are sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(CSV[:100_000])
        await response.write(CSV[100_000:])
        return response

    url = await serve(answer)
    assert len(await read_rows(UrlSource(url=f"{url}/a.csv"))) == ROWS


async def test_a_busy_server_is_asked_again(serve: Serve) -> None:
    """Statuses that pass with time are no end."""
    statuses = [503, 429, 200]

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=statuses.pop(0), body=b"a\n1\n")

    url = await serve(answer)
    rows = await read_rows(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))
    assert rows == [{"a": "1"}]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_file_that_is_not_there_is_not_found(serve: Serve, status: int) -> None:
    """The error is one of missing files too, and shows no secrets."""
    url = await serve(_answer(status=status))
    secret = url.replace("//", "//user:secret@")
    with pytest.raises(SourceNotFoundError, match=str(status)) as caught:
        await read_rows(UrlSource(url=f"{secret}/a.csv?key=secret#secret"))
    assert str(caught.value).startswith(f"{url}/a.csv: the server answered with")
    assert caught.value.path == f"{url}/a.csv"


async def test_an_error_status_is_an_error(serve: Serve) -> None:
    """One that does not pass is reported at once."""
    url = await serve(_answer(status=403))
    error = await _error(UrlSource(url=f"{url}/a.csv?key=secret"))
    assert str(error) == f"{url}/a.csv: the server answered with status 403 (Forbidden)"


async def test_a_lasting_server_error_is_given_up(serve: Serve) -> None:
    """With the number of attempts."""
    url = await serve(_answer(status=500))
    error = await _error(UrlSource(url=f"{url}/a.csv", retry=AT_ONCE))
    assert "status 500" in str(error)
    assert str(error).endswith("gave up after 4 attempts")


async def test_nobody_there_is_a_clear_error(unused_tcp_port: int) -> None:
    """The address is shown without its query, in the whole chain of errors."""
    url = f"http://127.0.0.1:{unused_tcp_port}/a.csv"
    error = await _error(UrlSource(url=f"{url}?key=secret", retry=AT_ONCE))
    assert str(error) == f"{url}: no connection to the server; gave up after 4 attempts"
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_garbage_is_a_clear_error() -> None:
    """A peer that does not speak HTTP."""

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"garbage\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await _error(UrlSource(url=f"http://127.0.0.1:{port}/a.csv"))
    assert str(error).endswith("the server's answer is not valid HTTP")


async def test_a_file_above_the_limit_is_refused_by_its_length(serve: Serve) -> None:
    """Before anything of it is stored."""
    url = await serve(_answer(body=CSV))
    error = await _error(UrlSource(url=f"{url}/a.csv", max_bytes=1_000))
    assert str(error) == f"{url}/a.csv: larger than the limit of 1000 bytes (max_bytes)"


async def test_an_endless_body_is_cut_at_the_limit(serve: Serve) -> None:
    """A server that does not say the length cannot fill the disk."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"1,2\n" * 10_000)
        except ConnectionError:
            return response

    url = await serve(answer)
    error = await _error(UrlSource(url=f"{url}/a.csv", max_bytes=200_000))
    assert "larger than the limit" in str(error)


async def test_a_download_takes_no_longer_than_allowed(serve: Serve) -> None:
    """A body that drips is cut off, and its temporary file is gone."""
    before = open_files()
    paths: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(CSV)
        paths.update(path for path in open_files() - before if "sutro-stream-" in path)
        await anyio.sleep_forever()
        return response

    url = await serve(answer)
    error = await _error(UrlSource(url=f"{url}/a.csv", timeout_s=0.2))
    assert str(error) == f"{url}/a.csv: the download took longer than 0.2 s"
    assert len(paths) == 1
    assert not any(Path(path).parent.exists() for path in paths)


async def test_a_cancelled_download_leaves_nothing(serve: Serve) -> None:
    """The temporary folder is removed on the way out."""
    before = open_files()
    paths: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(CSV)
        paths.update(path for path in open_files() - before if "sutro-stream-" in path)
        scope.cancel()
        await anyio.sleep_forever()
        return response

    url = await serve(answer)
    with anyio.CancelScope() as scope:
        await read_rows(UrlSource(url=f"{url}/a.csv"))
    assert scope.cancelled_caught
    assert len(paths) == 1
    assert not any(Path(path).parent.exists() for path in paths)


async def test_a_web_page_is_not_taken_for_a_file(serve: Serve) -> None:
    """A login page answers with status 200."""
    page = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"
    url = await serve(_answer(body=page, content_type="text/html"))
    error = await _error(UrlSource(url=f"{url}/a.csv"))
    assert str(error) == f"{url}/a.csv: the server sent a web page, not a file"


async def test_an_unknown_format_is_a_clear_error(serve: Serve) -> None:
    """It says what to pass."""
    url = await serve(_answer(body=b"a\n1\n"))
    error = await _error(UrlSource(url=f"{url}/download"))
    assert "(application/octet-stream)" in str(error)
    assert str(error).endswith("pass the format")
    assert await read_rows(UrlSource(url=f"{url}/download", format="csv"))


async def test_errors_in_the_content_show_the_address(serve: Serve) -> None:
    """Not the temporary file, and not the query."""
    url = await serve(_answer(body=b"a,b\n1,2\n3\n"))
    ((_, reason),) = await read_refused(UrlSource(url=f"{url}/a.csv?key=secret"))
    assert reason.startswith(f"{url}/a.csv: line 3: 1 column")
    error = await _error(UrlSource(url=f"{url}/a.parquet?key=secret"))
    assert str(error) == f"{url}/a.parquet: not a Parquet file"


async def test_an_empty_file_is_an_error(serve: Serve) -> None:
    """As on disk."""
    url = await serve(_answer(body=b""))
    assert str(await _error(UrlSource(url=f"{url}/a.csv"))).endswith(
        "the file is empty"
    )


async def test_a_signed_address_is_sent_as_it_came(serve: Serve) -> None:
    """Quoting it anew would break its signature."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.Response(body=b"a\n1\n")

    url = await serve(answer)
    await read_rows(UrlSource(url=f"{url}/%61%2Fb.csv?sig=%2b%2F%7E+&x="))
    await read_rows(UrlSource(url=f"{url}/ä b.csv?x=ö"))
    assert asked == [
        "/%61%2Fb.csv?sig=%2b%2F%7E+&x=",
        "/%C3%A4%20b.csv?x=%C3%B6",
    ]


def test_a_source_does_not_show_its_secrets() -> None:
    """Neither by name nor when it is printed."""
    source = UrlSource(url="https://user:secret@host/a.csv?key=secret#secret")
    assert source.name == "https://host/a.csv"
    assert "secret" not in repr(source)
    assert "secret" not in str(source)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host/a.csv?key=secret"},
        {"url": "host/a.csv"},
        {"url": "https://?key=secret"},
        {"url": "https://host:port/a.csv?key=secret"},
        {"url": "https://host/a.csv", "format": "json"},
        {"url": "https://host/a.csv", "max_bytes": 0},
        {"url": "https://host/a.csv", "timeout_s": 0},
        {"url": "https://host/a.csv", "chunk_rows": 0},
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any]) -> None:
    """Before anything is sent, and without showing secrets."""
    with pytest.raises(ConfigurationError) as caught:
        UrlSource(**options)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
