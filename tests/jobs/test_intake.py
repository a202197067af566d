"""Rows of a body in the file of their job."""

import json
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.intake import (
    PROMPT,
    RENDERED,
    ArrayBody,
    open_body,
    store_rows,
    take_rows,
)
from sutro_stream.jobs.intake_workers import IntakeWorkers
from sutro_stream.values.function import FunctionInput
from sutro_stream.wire.api_error import ApiError

LARGE_TEXT = pa.large_string()
QUERY = FunctionInput(name="query")
REGION = FunctionInput(name="region", required=False)
SCORE = FunctionInput(name="score", default=1)


class Intake:
    """A folder for one body and its rows."""

    def __init__(self, folder: Path) -> None:
        self.body = folder / "body"
        self.target = folder / "input.parquet"

    def store(self, rows: str | bytes, *declared: FunctionInput, **options: Any) -> int:
        """Store rows given as JSON; how many there were."""
        data = rows.encode() if isinstance(rows, str) else rows
        self.body.write_bytes(data)
        array = ArrayBody(start=0, end=len(data))
        stored = store_rows(
            self.body, array, self.target, declared=declared or None, **options
        )
        return stored.rows

    def refusal(
        self, rows: str | bytes, *declared: FunctionInput, **options: Any
    ) -> tuple[int, str]:
        """Status and detail that rows are refused with; nothing is left of them."""
        with pytest.raises(ApiError) as caught:
            self.store(rows, *declared, **options)
        assert [self.body] == list(self.body.parent.iterdir())
        return caught.value.status, caught.value.detail

    def column(self, name: str) -> list[Any]:
        """Values of a stored column."""
        column = pq.read_table(self.target).column(name)
        assert column.type == LARGE_TEXT
        return list(column.to_pylist())


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    """An empty folder."""
    return Intake(tmp_path)


@pytest.fixture
async def workers() -> AsyncIterator[IntakeWorkers]:
    """One process at most."""
    async with IntakeWorkers(most=1, idle_s=0.05) as workers:
        yield workers


def test_strings_stay_as_they_are(intake: Intake) -> None:
    """Escapes are undone; order is kept; nothing else is in the file."""
    assert intake.store(r'["a\n\"\u00e9\ud83d\ude00\u0000", "", " b "]') == 3
    assert intake.column(PROMPT) == ['a\n"\u00e9\U0001f600\x00', "", " b "]
    assert pq.read_schema(intake.target).names == [PROMPT]


def test_other_scalars_become_text(intake: Intake) -> None:
    """Null becomes "", numbers and booleans stay as they are written."""
    intake.store('["a", null, 1, -0, 1.50, 1e400, 98765432109876543210, true, false]')
    assert intake.column(PROMPT) == [
        *("a", "", "1", "-0", "1.50", "1e400", "98765432109876543210"),
        *("true", "false"),
    ]


@pytest.mark.parametrize(
    ("row", "kind"), [('{"a": 1}', "an object"), ("[]", "an array")]
)
def test_a_standalone_model_takes_no_objects(
    intake: Intake, row: str, kind: str
) -> None:
    """Refused by its index."""
    assert intake.refusal(f'["a", 1, {row}]') == (
        422,
        f"inputs[2]: this model takes strings, not {kind}",
    )


def test_the_index_of_a_row_counts_over_all_pieces(intake: Intake) -> None:
    """However far into a body it is."""
    rows: list[Any] = ["x" * 1000] * 3_000 + [[]]
    status, detail = intake.refusal(json.dumps(rows))
    assert status == 422
    assert detail.startswith("inputs[3000]: ")


def test_fields_become_columns(intake: Intake) -> None:
    """Declared ones, in their order; a row's other fields are ignored."""
    rows = '[{"region": "EU", "query": "a", "x": {"query": 1}}, {"query": "b"}]'
    assert intake.store(rows, QUERY, REGION) == 2
    assert pq.read_schema(intake.target).names == ["query", "region", RENDERED]
    assert intake.column("query") == ["a", "b"]
    assert intake.column("region") == ["EU", None]
    assert intake.column(RENDERED) == [None, None]


def test_values_become_text(intake: Intake) -> None:
    """Null becomes "", which is a value; objects and arrays are kept as they came."""
    values = ["null", "1", "1.50", "true", r'"\u00e9"', '{"a": [1,  2]}', "[ ]", '"é"']
    rows = ", ".join(f'{{"query": {value}}}' for value in values)
    intake.store(f"[{rows}]", QUERY)
    assert intake.column("query") == [
        *("", "1", "1.50", "true", "\u00e9", '{"a": [1,  2]}', "[ ]", "\u00e9")
    ]


@pytest.mark.parametrize("more", ["", ", 7, true"])
def test_rows_that_are_text_are_prompts(intake: Intake, more: str) -> None:
    """Beside objects, row by row; scalars as for a standalone model."""
    intake.store(f'["{{{{ query }}}}", {{"query": "q"}}, null{more}]', QUERY)
    others: list[str] = ["7", "true"] if more else []
    assert intake.column(RENDERED) == ["{{ query }}", None, "", *others]
    assert intake.column("query") == [None, "q", None, *(None for _ in others)]


def test_a_function_takes_no_arrays(intake: Intake) -> None:
    """Refused by its index."""
    status, detail = intake.refusal('[{"query": "q"}, ["a"]]', QUERY)
    assert status == 422
    assert detail.startswith("inputs[1]: a Function takes objects")


def test_names_of_fields_can_be_anything(intake: Intake) -> None:
    """Also what a programming language would not call so."""
    names = ["", "class", "a b", "\u00e9", "field_1", "__init__"]
    declared = [FunctionInput(name=name) for name in names]
    intake.store(json.dumps([{name: name for name in names}]), *declared)
    assert [intake.column(name) for name in names] == [[name] for name in names]


def test_missing_required_fields_are_listed(intake: Intake) -> None:
    """Each row by its index; a default or null stands for a value."""
    rows = '["as is", {"query": "q"}, {"region": "EU"}, {"query": null}, {"score": 2}]'
    strict = FunctionInput(name="region")
    status, detail = intake.refusal(rows, QUERY, strict, SCORE)
    assert status == 422
    assert detail == (
        "inputs: required fields are missing: inputs[1] has no 'region'; inputs[2] "
        "has no 'query'; inputs[3] has no 'region'; inputs[4] has no 'query', "
        "'region'"
    )


def test_ten_rows_without_a_field_are_enough(intake: Intake) -> None:
    """Also when they are far apart."""
    rows = [{"query": "x" * 500_000}, *[{}] * 2] * 9
    status, detail = intake.refusal(json.dumps(rows), QUERY)
    assert status == 422
    assert detail.count("has no 'query'") == 10
    assert "inputs[14]" in detail
    assert "the first 10" in detail


@pytest.mark.parametrize(
    ("rows", "declared"),
    [
        (b'["\xff"]', ()),
        (b'[1, "\xff"]', ()),
        (b'["\xff"]', (QUERY,)),
        (b'[7, "\xff"]', (QUERY,)),
        (b'[{"query": "\xff"}]', (QUERY,)),
        (b'[{"query": "\\\\\xff"}, 7]', (QUERY,)),
        (b'[{"query": ["\xff"]}]', (QUERY,)),
    ],
)
def test_text_that_is_not_utf8_is_refused(
    intake: Intake, rows: bytes, declared: tuple[FunctionInput, ...]
) -> None:
    """With status 400: the body is no JSON."""
    status, detail = intake.refusal(rows, *declared)
    assert status == 400
    assert "not UTF-8" in detail


def test_too_many_rows_are_refused(intake: Intake) -> None:
    """Before all of them were read."""
    assert intake.store('["a", "b"]', most_rows=2) == 2
    intake.target.unlink()
    status, detail = intake.refusal('["a", "b", "c"]', most_rows=2)
    assert status == 403
    assert "more than the 2 rows" in detail


def test_what_a_killed_process_left_is_written_over(intake: Intake) -> None:
    """An unfinished file is nothing to the next attempt."""
    intake.target.with_name(".input.parquet.partial").write_bytes(b"x" * 10_000)
    intake.store('["a"]')
    assert intake.column(PROMPT) == ["a"]
    assert len(list(intake.target.parent.iterdir())) == 2


def test_a_folder_that_is_missing_is_a_fault_of_ours(tmp_path: Path) -> None:
    """Nobody who asked can do anything about it."""
    body = tmp_path / "body"
    body.write_text("[1]")
    target = tmp_path / "none" / "input.parquet"
    with pytest.raises(StoreError, match="cannot store the rows"):
        store_rows(body, ArrayBody(start=0, end=3), target, declared=None)


@pytest.mark.parametrize("apart_bytes", [0, 1 << 20])
async def test_a_process_of_its_own_does_the_same(
    intake: Intake, workers: IntakeWorkers, apart_bytes: int
) -> None:
    """Fields, rows and declared inputs cross over and come back."""
    intake.body.write_text('{"model": "m", "inputs": [{"query": 1}, "\u00e9"]}')
    body = await open_body(intake.body, workers=workers, apart_bytes=apart_bytes)
    assert json.loads(body.fields) == {"model": "m", "inputs": None}
    assert isinstance(body.inputs, ArrayBody)
    stored = await take_rows(
        intake.body,
        body.inputs,
        intake.target,
        workers=workers,
        declared=[QUERY, SCORE],
        apart_bytes=apart_bytes,
    )
    assert stored.rows == 2
    assert intake.column("query") == ["1", None]
    assert intake.column(RENDERED) == [None, "\u00e9"]


async def test_a_reference_crosses_over(intake: Intake, workers: IntakeWorkers) -> None:
    """As well as rows do."""
    intake.body.write_text('{"inputs": "dataset-1"}')
    assert (
        await open_body(intake.body, workers=workers, apart_bytes=0)
    ).inputs == "dataset-1"


async def test_a_refusal_crosses_over(intake: Intake, workers: IntakeWorkers) -> None:
    """With status, code and detail."""
    intake.body.write_text("nothing")
    with pytest.raises(ApiError, match="not a JSON object") as caught:
        await open_body(intake.body, workers=workers, apart_bytes=0)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


async def test_a_fault_crosses_over(
    intake: Intake, workers: IntakeWorkers, tmp_path: Path
) -> None:
    """With its message."""
    intake.body.write_text('["a"]')
    array = ArrayBody(start=0, end=5)
    target = tmp_path / "none" / "input.parquet"
    with pytest.raises(StoreError, match="cannot store the rows"):
        await take_rows(
            intake.body,
            array,
            target,
            workers=workers,
            declared=None,
            apart_bytes=0,
        )


async def test_a_body_that_is_not_there_is_a_clear_error(
    intake: Intake, workers: IntakeWorkers
) -> None:
    """Before a process is started for it."""
    with pytest.raises(StoreError, match="no such file"):
        await open_body(intake.body, workers=workers)


async def test_cancelling_ends_the_process(
    intake: Intake, workers: IntakeWorkers
) -> None:
    """It has nobody to answer to any more."""
    # A pipe: the process waits for bytes that never come, and we know that it does.
    os.mkfifo(intake.body)
    others = set(psutil.Process().children())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(open_body, intake.body, workers=workers, apart_bytes=-1)
        )
        with await anyio.to_thread.run_sync(intake.body.open, "wb"):
            assert set(psutil.Process().children()) - others
            tasks.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()
    assert set(psutil.Process().children()) <= others


async def test_a_process_is_kept_for_the_next_body(
    intake: Intake, workers: IntakeWorkers
) -> None:
    """Starting one takes longer than most bodies do."""
    intake.body.write_text('{"inputs": "dataset-1"}')
    others = set(psutil.Process().children())
    started = []
    for _ in range(2):
        await open_body(intake.body, workers=workers, apart_bytes=0)
        started.append(set(psutil.Process().children()) - others)
    assert len(started[0]) == 1
    assert started[1] == started[0]


async def test_one_that_was_ended_from_outside_is_replaced(
    intake: Intake, workers: IntakeWorkers
) -> None:
    """Whoever comes next does not notice."""
    intake.body.write_text('{"inputs": "dataset-1"}')
    others = set(psutil.Process().children())
    await open_body(intake.body, workers=workers, apart_bytes=0)
    (process,) = set(psutil.Process().children()) - others
    process.kill()
    assert (
        await open_body(intake.body, workers=workers, apart_bytes=0)
    ).inputs == "dataset-1"


async def test_one_that_nobody_needs_is_ended(
    intake: Intake, workers: IntakeWorkers
) -> None:
    """Its memory is given back."""
    intake.body.write_text('{"inputs": "dataset-1"}')
    others = set(psutil.Process().children())
    await open_body(intake.body, workers=workers, apart_bytes=0)
    (process,) = set(psutil.Process().children()) - others
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(workers.keep_few)
        await anyio.to_thread.run_sync(process.wait, 20)
        tasks.cancel_scope.cancel()
