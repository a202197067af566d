"""The ledger is the user's: its answers can be had, and damage to it is seen."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio.to_thread
import polars as pl
import pyarrow as pa
import pytest

import sutro_stream as ss
from sutro_stream.cli import main
from sutro_stream.engines.embeddings import EmbeddingEngine
from sutro_stream.engines.engine import request_identity
from sutro_stream.engines.truncation import truncating
from sutro_stream.errors import WorkChangedError
from sutro_stream.ledger.export import open_export
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import inspect
from sutro_stream.ledger.ledger import OpenMode, open_ledger
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.values.fingerprint import prompt_digest
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, RowError, Usage

Run = Callable[..., Awaitable[tuple[int, str, str]]]

BEFORE = Path(__file__).parent / "data" / "before"
ROWS = 400
WORK = WorkIdentity(parts={"input": "a", "model": "m"})


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command: exit code, stdout and stderr."""

    async def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        command = list(map(str, arguments))
        code = await anyio.to_thread.run_sync(partial(main, command, environment={}))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def outcome(index: int) -> Outcome:
    """What becomes of a row; every tenth is refused."""
    if index % 10 == 3:
        error = RowError(kind=ErrorKind.REJECTED, message="no")
        return Outcome(error=error, attempts=1)
    answer = Answer(text=f"answer {index}", usage=Usage(output_tokens=2))
    return Outcome(answer=answer, attempts=1)


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A ledger as a kill leaves it: 300 rows in the database, 100 in the log."""
    (tmp_path / "live").mkdir()
    path = tmp_path / "live" / "out.csv.ledger"
    async with open_ledger(path, WORK) as ledger:
        for first in range(0, ROWS, 100):
            rows = {"id": range(first, first + 100)}
            await ledger.spool(first, pa.record_batch(rows))
        for index in range(ROWS):
            if index == 300:
                await ledger.flush()
            ledger.record(index, prompt_digest(f"{index}"), outcome(index))
        shutil.copytree(path.parent, tmp_path / "dead")
    left = tmp_path / "dead" / path.name
    left.with_name(f"{path.name}-lock").unlink()
    return left


def log_of(ledger: Path) -> Path:
    """The only part of a ledger's log."""
    (log,) = ledger.parent.glob(f"{ledger.name}-log-*")
    return log


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def exported(ledger: Path) -> tuple[dict[int, tuple[str | None, str | None]], int]:
    """Output and error by id, and the number of damages told."""
    with open_export(ledger) as export:
        rows = {}
        for batch in export.batches():
            for row in batch.to_pylist():
                rows[row["id"]] = (row["output"], row["error"])
        return rows, len(export.damages)


def expected(index: int) -> tuple[str | None, str | None]:
    """What an export says of a row."""
    made = outcome(index)
    text = None if made.answer is None else made.answer.text
    return text, None if made.error is None else str(made.error)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
async def test_what_was_answered_can_be_exported(
    run: Run, killed: Path, tmp_path: Path, suffix: str
) -> None:
    """From the ledger of a killed run, with input columns and reasons, in order."""
    out = tmp_path / f"answers.{suffix}"
    before = sorted(path.name for path in killed.parent.iterdir())
    code, shown, err = await run("ledger", "export", killed, "-o", out)
    assert (code, err) == (0, "")
    assert "400 rows, 360 of them answered" in shown
    read: Mapping[str, Callable[[Path], pl.DataFrame]] = {
        "csv": pl.read_csv,
        "jsonl": pl.read_ndjson,
        "parquet": pl.read_parquet,
    }
    table = read[suffix](out)
    assert table.columns == ["id", "output", "error"]
    assert table["id"].to_list() == list(range(ROWS))
    assert table["output"].to_list() == [expected(index)[0] for index in range(ROWS)]
    assert table["error"].to_list() == [expected(index)[1] for index in range(ROWS)]
    assert sorted(path.name for path in killed.parent.iterdir()) == before


async def test_an_export_replaces_nothing_unasked(
    run: Run, killed: Path, tmp_path: Path
) -> None:
    """A file that is there stays, but for `--overwrite`."""
    out = tmp_path / "answers.csv"
    out.write_text("mine")
    code, _, err = await run("ledger", "export", killed, "-o", out)
    assert (code, out.read_text()) == (2, "mine")
    assert "--overwrite" in err
    code, _, _ = await run("ledger", "export", killed, "-o", out, "--overwrite")
    assert (code, pl.read_csv(out).height) == (0, ROWS)


async def test_an_export_beside_a_run_disturbs_nobody(tmp_path: Path) -> None:
    """What was recorded up to this moment is in it, and no damage is seen."""
    path = tmp_path / "out.csv.ledger"
    async with open_ledger(path, WORK) as ledger:
        await ledger.spool(0, pa.record_batch({"id": range(ROWS)}))
        for index in range(ROWS):
            ledger.record(index, index, outcome(index))
            if index % 100 == 50:
                rows, damages = await anyio.to_thread.run_sync(exported, path)
                assert (sorted(rows), damages) == (list(range(index + 1)), 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_flipped_bit_in_the_log_costs_a_frame(
    run: Run, killed: Path, share: float
) -> None:
    """It is told by show and export, and everything else is there."""
    log = log_of(killed)
    written = len(log.read_bytes().rstrip(b"\0"))
    flip(log, int(written * share))
    rows, damages = exported(killed)
    assert damages == 1
    assert len(rows) == ROWS - 1
    assert all(found == expected(index) for index, found in rows.items())
    code, shown, err = await run("ledger", "show", killed)
    assert code == 0
    assert "damaged places              1" in shown
    assert log.name in err


@pytest.mark.parametrize("at", [0, 27, 31])
async def test_any_bit_of_the_log_can_be_the_one(killed: Path, at: int) -> None:
    """Of the line it begins with, of a length and of a checksum."""
    flip(log_of(killed), at)
    rows, damages = exported(killed)
    assert damages == 1
    assert len(rows) >= ROWS - 1


async def test_a_run_goes_on_past_a_damaged_frame_and_says_so(
    killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One row is lost, and it stays known that something was."""
    log = log_of(killed)
    flip(log, len(log.read_bytes().rstrip(b"\0")) // 2)
    async with open_ledger(killed, WORK) as ledger:
        assert ledger.kept == ROWS - 1
        assert ledger.statistics().damaged == 1
        assert len(await ledger.known(0, ROWS)) == ROWS - 1
    assert log.name in caplog.text
    assert inspect(killed).statistics.damaged == 1


async def test_rows_that_share_a_lost_answer_are_lost_with_it(tmp_path: Path) -> None:
    """Nobody is given an answer that is not there."""
    path = tmp_path / "live" / "out.csv.ledger"
    path.parent.mkdir()
    async with open_ledger(path, WORK) as ledger:
        for index in range(20):
            ledger.record(index, index // 2, outcome(0), leader=None)
            ledger.record(100 + index, index // 2, outcome(0), leader=index)
        shutil.copytree(path.parent, tmp_path / "dead")
    left = tmp_path / "dead" / path.name
    content = log_of(left).read_bytes()
    # A row's own answer holds the text, one that is shared only names the row.
    flip(log_of(left), content.index(b"answer 0"))
    async with open_ledger(left, WORK) as ledger:
        known = await ledger.known(0, 200)
        assert sorted(known) == [*range(1, 20), *range(101, 120)]


@pytest.mark.parametrize("torn", [1, 5, 20])
async def test_the_end_that_a_crash_cuts_off_is_no_damage(
    killed: Path, torn: int
) -> None:
    """Half an entry, and the zeros of a file that was made longer than it is."""
    log = log_of(killed)
    written = log.read_bytes().rstrip(b"\0")
    log.write_bytes(written[:-torn] + bytes(4096))
    rows, damages = exported(killed)
    assert (len(rows), damages) == (ROWS - 1, 0)
    assert inspect(killed).statistics.damaged == 0


async def closed(ledger: Path) -> None:
    """Bring everything into the database."""
    async with open_ledger(ledger, WORK):
        pass


async def test_a_damaged_page_costs_its_rows_and_no_others(
    run: Run, killed: Path, tmp_path: Path
) -> None:
    """The export tells it; opening the ledger names the export."""
    await closed(killed)
    content = bytearray(killed.read_bytes())
    at = content.index(b"answer 200")
    page = at - at % 4096
    content[page : page + 8] = b"\xff" * 8
    killed.write_bytes(content)
    on_page = content[page : page + 4096].count(b"answer") + content[
        page : page + 4096
    ].count(b"rejected")
    out = tmp_path / "answers.csv"
    code, _, err = await run("ledger", "export", killed, "-o", out)
    assert code == 0
    assert "cannot be read, near row" in err
    table = pl.read_csv(out)
    assert ROWS - on_page - 2 <= table.height < ROWS
    assert 200 not in table["id"].to_list()
    for row, output, error in table.iter_rows():
        assert (output, error) == expected(row)
    with pytest.raises(ss.StoreDamagedError, match="ledger export"):
        async with open_ledger(killed, WORK):
            pass


async def test_a_changed_byte_in_the_database_costs_a_row(killed: Path) -> None:
    """SQLite does not see it; the checksum of the row does."""
    await closed(killed)
    flip(killed, killed.read_bytes().index(b"answer 200") + 8)
    rows, damages = exported(killed)
    assert (sorted(rows), damages) == ([n for n in range(ROWS) if n != 200], 1)


@pytest.mark.parametrize("place", [0, 100])
async def test_a_ruined_begin_of_the_database_leaves_the_log(
    killed: Path, place: int
) -> None:
    """Whatever SQLite says of it: no traceback, and the log's rows at least."""
    for ending in ("-wal", "-shm"):
        killed.with_name(killed.name + ending).unlink(missing_ok=True)
    content = bytearray(killed.read_bytes())
    content[place : place + 200] = b"\xff" * 200
    killed.write_bytes(content)
    with open_export(killed) as export:
        assert export.damages
        assert export.rows >= 100


@pytest.mark.parametrize("seed", range(4))
async def test_no_damage_makes_an_answer_another_one(killed: Path, seed: int) -> None:
    """Rubbish anywhere in any file: fewer rows, told, or a clear error."""
    chance = random.Random(seed)
    files = {path: path.read_bytes() for path in killed.parent.iterdir()}
    for _ in range(8):
        for path, content in files.items():
            path.write_bytes(content)
        path = chance.choice([path for path in files if "-shm" not in path.name])
        content = files[path].rstrip(b"\0")
        at, length = chance.randrange(len(content)), chance.choice([1, 30, 5000])
        ruined = content[:at] + chance.randbytes(length) + content[at + length :]
        path.write_bytes(ruined)
        with open_export(killed) as export:
            rows = [row for batch in export.batches() for row in batch.to_pylist()]
            assert export.damages or len(rows) == ROWS
        for row in rows:
            index = row.get("row_index", row.get("id"))
            assert (row["output"], row["error"]) == expected(index)


async def test_a_missing_database_is_told_and_its_log_is_kept(
    run: Run, killed: Path, tmp_path: Path
) -> None:
    """A run does not begin anew in silence; the log can be exported."""
    for ending in ("", "-wal", "-shm"):
        killed.with_name(killed.name + ending).unlink(missing_ok=True)
    with pytest.raises(ss.StoreDamagedError, match="ledger export"):
        async with open_ledger(killed, WORK):
            pass
    code, _, err = await run("ledger", "show", killed)
    assert code == 1
    assert "is missing, but its log is there" in err
    out = tmp_path / "answers.csv"
    code, shown, err = await run("ledger", "export", killed, "-o", out)
    assert code == 0
    assert "is missing; its log is read alone" in err
    assert "100 rows" in shown
    table = pl.read_csv(out)
    assert table["row_index"].to_list() == list(range(300, 400))
    async with open_ledger(killed, WORK, mode=OpenMode.RESTART) as ledger:
        assert ledger.kept == 0


async def test_a_missing_spool_costs_input_columns_alone(killed: Path) -> None:
    """Rows have their place instead."""
    killed.with_name(f"{killed.name}-rows").unlink()
    with open_export(killed) as export:
        assert export.damages
        assert export.schema.names == ["row_index", "output", "error"]
        assert export.rows == ROWS


async def test_a_damaged_spool_costs_the_columns_of_a_frame(killed: Path) -> None:
    """The other rows have theirs."""
    spool = killed.with_name(f"{killed.name}-rows")
    flip(spool, spool.stat().st_size // 2)
    with open_export(killed) as export:
        assert len(export.damages) == 1
        assert export.schema.names == ["row_index", "id", "output", "error"]
        rows = [row for batch in export.batches() for row in batch.to_pylist()]
    assert [row["row_index"] for row in rows] == list(range(ROWS))
    lost = [row for row in rows if row["id"] is None]
    assert len(lost) == 100
    assert all(row["id"] in (row["row_index"], None) for row in rows)


async def test_nothing_to_export_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    """For a ledger that is not there, and for a file that is none."""
    other = tmp_path / "rows.csv"
    other.write_text("id\n1\n")
    for path in (tmp_path / "none.ledger", other):
        code, _, err = await run("ledger", "export", path, "-o", tmp_path / "x.csv")
        assert code == 1
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


# What a ledger is bound to.


async def asked(
    server: ScriptedChatServer, ledger: Path, extra: Mapping[str, object] | None
) -> None:
    """Ask two rows, with further fields in each request."""
    engine = ss.ChatEngine(server.base_url, "m", extra_body=extra)
    pipeline = ss.from_rows([{"text": "a"}, {"text": "b"}]) | ss.prompts(column="text")
    async with engine, (pipeline | ss.infer(engine)).open(ledger=ledger) as results:
        assert len([result async for result in results]) == 2


async def test_further_fields_of_requests_are_part_of_the_work(tmp_path: Path) -> None:
    """Another temperature by `extra_body` does not get the old answers."""
    ledger = tmp_path / "ledger"
    async with ScriptedChatServer() as server:
        await asked(server, ledger, {"temperature": 0, "top_k": 5})
        await asked(server, ledger, {"top_k": 5, "temperature": 0})
        assert server.statistics().requests == 2
        for other in ({"temperature": 1}, None):
            with pytest.raises(WorkChangedError) as caught:
                await asked(server, ledger, other)
            assert caught.value.differences == ("extra body",)
    assert "top_k" not in str(inspect(ledger).parts)


async def test_what_stands_before_an_engine_passes_its_identity_on() -> None:
    """A group names it once where all members agree."""
    plain = Instructions()
    async with ss.ChatEngine("http://127.0.0.1:1/v1", extra_body={"a": 1}) as engine:
        own = request_identity(engine.bind(plain))
        assert list(own) == ["extra body"]
        cutting = truncating(engine, tokenizer=None, context_window=100, answer_room=10)
        assert request_identity(cutting.bind(plain)) == own
    group = ss.EngineGroup(
        [ss.ChatEngine(f"http://127.0.0.1:{n}/v1", extra_body={"a": 1}) for n in (1, 2)]
    )
    async with group:
        assert request_identity(group.bind(plain)) == own
    async with EmbeddingEngine("http://127.0.0.1:1/v1", "m", dimensions=3) as vectors:
        assert list(request_identity(vectors.bind(plain))) == ["extra body"]


# Files of the version before.


@pytest.fixture
def before(tmp_path: Path) -> Callable[[str], Path]:
    """Unpacks a run's files, as the version before has left them."""

    def unpacked(name: str) -> Path:
        folder = tmp_path / name
        with tarfile.open(BEFORE / f"{name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        return folder

    return unpacked


def same_command(folder: Path, server: ScriptedChatServer) -> list[str]:
    """What those ledgers were begun with."""
    return [
        *("run", str(folder / "rows.csv"), "--column", "text", "--model", "m"),
        *("--engine", server.base_url, "--concurrency", "2", "--attempts", "1"),
        *("--sampling", "top_p=0.9", "--system-prompt", "Be brief."),
        *("--output", str(folder / "out.parquet")),
    ]


async def test_an_unfinished_ledger_of_the_version_before_goes_on(
    run: Run, before: Callable[[str], Path]
) -> None:
    """What it knows is not asked again, but for the row that failed on its way."""
    folder = before("unfinished")
    async with ScriptedChatServer() as server:
        code, shown, err = await run(*same_command(folder, server))
        assert server.statistics().requests == 40 - 20
    assert (code, err) == (0, "")
    assert "kept                     20" in shown
    table = pl.read_parquet(folder / "out.parquet")
    assert table["output"].null_count() == 1
    assert not list(folder.glob("*.ledger*"))


@pytest.mark.parametrize(("name", "rows"), [("unfinished", 21), ("kept", 40)])
async def test_ledgers_of_the_version_before_are_shown_and_exported(
    run: Run, before: Callable[[str], Path], name: str, rows: int
) -> None:
    """All there is in them, without a warning."""
    folder = before(name)
    ledger, out = folder / "out.parquet.ledger", folder / "answers.csv"
    code, shown, err = await run("ledger", "show", ledger)
    assert (code, err) == (0, "")
    assert f"rows             {rows:>12}" in shown
    code, _, err = await run("ledger", "export", ledger, "-o", out)
    assert (code, err) == (0, "")
    table = pl.read_csv(out)
    assert table.columns == ["id", "text", "output", "error"]
    assert table.height == rows


async def test_a_kept_ledger_of_the_version_before_is_verified_and_used(
    run: Run, before: Callable[[str], Path]
) -> None:
    """Given again, the command knows its own output and asks what failed on its way."""
    folder = before("kept")
    ledger, out = folder / "out.parquet.ledger", folder / "out.parquet"
    code, shown, _ = await run("ledger", "verify", ledger, out)
    assert (code, "agrees" in shown) == (0, True)
    async with ScriptedChatServer() as server:
        code, _, _ = await run(*same_command(folder, server))
        assert server.statistics().requests == 1
    assert code == 0
    assert pl.read_parquet(out)["error"].null_count() == 39


def test_prompts_have_the_digests_they_had(before: Callable[[str], Path]) -> None:
    """The database of the version before has them."""
    ledger = before("kept") / "out.parquet.ledger"
    with closing(sqlite3.connect(ledger)) as connection:
        rows = dict(connection.execute("SELECT idx, digest FROM rows WHERE idx < 3"))
    assert rows == {index: prompt_digest(f"text {index}") for index in range(3)}
