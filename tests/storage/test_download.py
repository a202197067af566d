"""Downloads that are kept: complete, or not there."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from sutro_stream.errors import SourceError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.sources.url import UrlSource
from sutro_stream.storage.download import download
from sutro_stream.testing.source_suite import read_rows


class Served:
    """One file behind an address.

    Attributes:
        requests: How often it was asked for.
        stalls: Whether its end never comes.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.stalls = False
        self.started = anyio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send it, or a part of it."""
        self.requests += 1
        response = web.StreamResponse(headers={"Content-Type": "text/csv"})
        await response.prepare(request)
        await response.write(b"a\n1\n")
        if self.stalls:
            self.started.set()
            await anyio.sleep_forever()
        return response


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A file on loopback, under a name that tells nothing."""
    file = Served()
    runner = web.ServerRunner(web.Server(file), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file.url = f"http://127.0.0.1:{runner.addresses[0][1]}/rows?key=secret"
    yield file
    await runner.cleanup()


async def test_the_file_has_a_name_that_says_what_it_is(
    served: Served, tmp_path: Path
) -> None:
    """Found by its content type here; nothing else is left in the folder."""
    path = await download(UrlSource(url=served.url), tmp_path)
    assert path == tmp_path / "download.csv"
    assert path.read_bytes() == b"a\n1\n"
    assert list(tmp_path.iterdir()) == [path]


async def test_what_is_there_is_not_fetched_again(
    served: Served, tmp_path: Path
) -> None:
    """A run that starts once more reads the same rows."""
    source = UrlSource(url=served.url, keep_in=tmp_path)
    assert await read_rows(source) == await read_rows(source) == [{"a": "1"}]
    assert served.requests == 1


async def test_errors_in_a_kept_file_name_its_address(
    served: Served, tmp_path: Path
) -> None:
    """And never where it lies, nor the query."""
    (tmp_path / "download.parquet").write_bytes(b"PAR1 and nothing else")
    source = UrlSource(url=served.url, keep_in=tmp_path)
    with pytest.raises(SourceError) as caught:
        await read_rows(source)
    assert str(caught.value).startswith(served.url.partition("?")[0])
    assert "secret" not in str(caught.value)


async def test_a_cancelled_download_leaves_the_folder_empty(
    served: Served, tmp_path: Path
) -> None:
    """A file that is not complete is not found by the next run."""
    served.stalls = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download, UrlSource(url=served.url), tmp_path)
        await served.started.wait()
        tasks.cancel_scope.cancel()
    assert not list(tmp_path.iterdir())


async def test_a_failed_download_leaves_the_folder_empty(
    served: Served, tmp_path: Path
) -> None:
    """Also one that came to its end and cannot be used."""
    source = UrlSource(url=served.url, max_bytes=3, retry=RetryPolicy(attempts=1))
    with pytest.raises(SourceError, match="larger than the limit"):
        await download(source, tmp_path)
    assert not list(tmp_path.iterdir())


async def test_what_a_killed_process_left_is_written_over(
    served: Served, tmp_path: Path
) -> None:
    """An unfinished file is no part of the next one."""
    (tmp_path / ".download.partial").write_bytes(b"x" * 1000)
    path = await download(UrlSource(url=served.url), tmp_path)
    assert path.read_bytes() == b"a\n1\n"


async def test_a_folder_that_is_missing_is_a_clear_error(
    served: Served, tmp_path: Path
) -> None:
    """An error of the source, by its address."""
    with pytest.raises(SourceError, match="cannot be stored: no such file"):
        await download(UrlSource(url=served.url), tmp_path / "none")
