"""The temporary file and its end, whatever the format."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import anyio
import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError, SinkError
from sutro_stream.sinks.files import FileSink, staged
from sutro_stream.storage.temporary import claim, sweep

RECORDS = pa.record_batch({"text": ["x"] * 5_000})


class PlainEncoder:
    """Writes the number of rows; hooks let a test stop it or fail it."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._file = file
        self.names = schema.names

    def write(self, records: pa.RecordBatch) -> None:
        self._file.write(b"%d\n" % records.num_rows)

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def permissions(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


async def write(path: Path) -> None:
    """Make a file with one line."""
    async with staged(path, RECORDS.schema, PlainEncoder) as writer:
        await writer.write(RECORDS)
        await writer.finish()


async def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    """As any file that a program of this user creates."""
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    await write(tmp_path / "out")
    assert permissions(tmp_path / "out") == permissions(ordinary)


@pytest.mark.parametrize("mode", [0o600, 0o664])
async def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    """A result that was private stays private."""
    path = tmp_path / "out"
    path.touch()
    path.chmod(mode)
    await write(path)
    assert path.read_bytes() == b"5000\n"
    assert permissions(path) == mode


async def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """Its target is replaced; the temporary file lies beside the target."""
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    async with staged(link, RECORDS.schema, PlainEncoder) as writer:
        assert len(list(target.parent.iterdir())) == 2
        await writer.write(RECORDS)
        await writer.finish()
    assert link.is_symlink()
    assert target.read_bytes() == b"5000\n"


async def test_a_link_to_nowhere_creates_its_target(tmp_path: Path) -> None:
    """As opening it for writing would."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    await write(link)
    assert (tmp_path / "target").read_bytes() == b"5000\n"


async def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    """There is no file at the end of them."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(SinkError, match="symbolic links"):
        await write(tmp_path / "a")


async def test_a_name_that_is_too_long_is_an_error_on_opening(tmp_path: Path) -> None:
    """Found before the rows, not when they are to be put in place."""
    with pytest.raises(SinkError, match="too long"):
        async with staged(tmp_path / ("x" * 300), RECORDS.schema, PlainEncoder):
            raise AssertionError("the sink has opened")


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "😀" * 63])
async def test_a_name_may_be_as_long_as_the_system_allows(
    tmp_path: Path, name: str
) -> None:
    """The name of the temporary file does not grow with it."""
    await write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_something_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """A pipe cannot be replaced whole."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkError, match="not a regular file"):
        await write(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_write_protected_file_is_refused(tmp_path: Path) -> None:
    """Someone protected it from exactly this."""
    path = tmp_path / "out"
    path.touch(mode=0o400)
    with pytest.raises(SinkError, match="write-protected"):
        await write(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_without_permission_is_an_error_on_opening(
    tmp_path: Path,
) -> None:
    """The reason is the system's."""
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="Permission denied"):
        async with staged(tmp_path / "out", RECORDS.schema, PlainEncoder):
            raise AssertionError("the sink has opened")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs procfs")
async def test_a_folder_that_takes_no_files_is_an_error_on_opening() -> None:
    """Also for root, in one line that names the file."""
    with pytest.raises(SinkError, match=r"^cannot write /proc/out.csv: [^\n]+$"):
        async with FileSink(Path("/proc/out.csv")).open(RECORDS.schema):
            raise AssertionError("the sink has opened")


async def test_no_columns_are_refused(tmp_path: Path) -> None:
    """Rows of nothing cannot be counted when they are read back."""
    with pytest.raises(ConfigurationError, match="no column"):
        async with staged(tmp_path / "out", pa.schema([]), PlainEncoder):
            raise AssertionError("the sink has opened")


async def test_a_folder_that_took_the_name_meanwhile_is_an_error(
    tmp_path: Path,
) -> None:
    """`finish` fails and leaves nothing of its own."""
    path = tmp_path / "out"
    with pytest.raises(SinkError):
        async with staged(path, RECORDS.schema, PlainEncoder) as writer:
            path.mkdir()
            await writer.finish()
    assert list(tmp_path.iterdir()) == [path]


async def test_an_encoder_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    """The file it was to write to goes with it."""

    class Refusing(PlainEncoder):
        def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
            super().__init__(file, schema)
            raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        async with staged(tmp_path / "out", RECORDS.schema, Refusing):
            raise AssertionError("the sink has opened")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_with_a_hole_is_never_finished(tmp_path: Path) -> None:
    """After a failed write the rows are not complete, so nothing ends well."""

    class Failing(PlainEncoder):
        def write(self, records: pa.RecordBatch) -> None:  # noqa: ARG002
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with staged(tmp_path / "out", RECORDS.schema, Failing) as writer:
        with pytest.raises(SinkError, match="no space left on device"):
            await writer.write(RECORDS)
        with pytest.raises(SinkError):
            await writer.write(RECORDS)
        with pytest.raises(SinkError):
            await writer.finish()
    assert list(tmp_path.iterdir()) == []


async def test_a_cancelled_write_is_a_hole_as_well(tmp_path: Path) -> None:
    """Who carries on after it cannot end well either."""
    async with staged(tmp_path / "out", RECORDS.schema, PlainEncoder) as writer:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await writer.write(RECORDS)
        with pytest.raises(SinkError, match="cut short"):
            await writer.finish()
    assert list(tmp_path.iterdir()) == []


async def test_a_task_cancelled_from_outside_waits_for_its_thread(
    tmp_path: Path,
) -> None:
    """The file is removed after the write under way, not beneath it."""
    began, may_end = threading.Event(), threading.Event()
    steps = []

    class Slow(PlainEncoder):
        def write(self, records: pa.RecordBatch) -> None:
            began.set()
            may_end.wait(5)
            super().write(records)
            steps.append("written")

        def abandon(self) -> None:
            steps.append("abandoned")

    async def run() -> None:
        async with staged(tmp_path / "out", RECORDS.schema, Slow) as writer:
            await writer.write(RECORDS)

    async with anyio.create_task_group() as group:
        tasks: list[asyncio.Task[None] | None] = []

        async def tracked() -> None:
            tasks.append(asyncio.current_task())
            await run()

        group.start_soon(tracked)
        await anyio.to_thread.run_sync(began.wait, 5)
        assert tasks[0] is not None
        tasks[0].cancel()
        await anyio.wait_all_tasks_blocked()
        assert steps == []
        may_end.set()
    assert steps == ["written", "abandoned"]
    assert list(tmp_path.iterdir()) == []


async def test_cancelling_during_finish_lets_it_end(tmp_path: Path) -> None:
    """Either the whole file is there or none; here it is there."""
    began, may_end = threading.Event(), threading.Event()

    class Slow(PlainEncoder):
        def finish(self) -> None:
            began.set()
            may_end.wait(5)

    async def run() -> None:
        async with staged(tmp_path / "out", RECORDS.schema, Slow) as writer:
            await writer.write(RECORDS)
            await writer.finish()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.to_thread.run_sync(began.wait, 5)
        group.cancel_scope.cancel()
        may_end.set()
    assert (tmp_path / "out").read_bytes() == b"5000\n"
    assert len(list(tmp_path.iterdir())) == 1


async def test_rows_wait_for_company_before_they_are_written(tmp_path: Path) -> None:
    """Small batches reach the encoder joined, large ones at once."""
    sizes = []

    class Counting(PlainEncoder):
        def write(self, records: pa.RecordBatch) -> None:
            sizes.append(records.num_rows)

    async with staged(tmp_path / "out", RECORDS.schema, Counting) as writer:
        for _ in range(256):
            await writer.write(RECORDS.slice(0, 1))
        await writer.write(RECORDS)
        await writer.write(RECORDS.slice(0, 2))
        await writer.finish()
    assert sizes == [256, 5_000, 2]


def leave_behind(path: Path) -> None:
    """Begin to write a file, and die."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from sutro_stream.storage.temporary import claim\n"
        "claim(Path(sys.argv[1]), buffer_bytes=4096)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)


async def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    """When the same output is written again, not another one."""
    leave_behind(tmp_path / "out")
    leave_behind(tmp_path / "other")
    assert len(list(tmp_path.iterdir())) == 2
    await write(tmp_path / "out")
    left = [path.name for path in tmp_path.iterdir() if path.name != "out"]
    assert len(left) == 1
    assert left[0].startswith(".other.")


async def test_what_somebody_is_writing_stays(tmp_path: Path) -> None:
    """The one who is ready last puts the file in place."""
    path = tmp_path / "out"
    async with staged(path, RECORDS.schema, PlainEncoder) as writer:
        await write(path)
        path.unlink()
        await writer.write(RECORDS)
        await writer.finish()
    assert path.read_bytes() == b"5000\n"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_file_is_its_writers_until_it_has_its_name(tmp_path: Path) -> None:
    """Also when it has been closed, to be put in place."""
    claimed = claim(tmp_path / "out", buffer_bytes=4096)
    claimed.file.close()
    sweep(tmp_path / "out")
    assert claimed.path.exists()
    claimed.give_up()
    sweep(tmp_path / "out")
    assert not claimed.path.exists()


def test_only_temporary_files_are_swept(tmp_path: Path) -> None:
    """Names that look alike are somebody else's."""
    names = (
        ".out.notes.partial",
        ".out.0123456789abcdef.partial.bak",
        ".outer.partial",
    )
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".out.0123456789abcdef.partial").mkdir()
    sweep(tmp_path / "out")
    sweep(tmp_path / "nowhere" / "out")
    assert len(list(tmp_path.iterdir())) == 4
