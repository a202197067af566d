"""Whether an output file says what its ledger says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError, StoreError
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.inspection import verify
from sutro_stream.ledger.ledger import open_ledger
from sutro_stream.sinks.files import FileSink
from sutro_stream.values.outcomes import Answer, Outcome

Make = Callable[..., Outcome]

SUFFIXES = [".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz"]
TEXTS = [
    "",
    "plain",
    'quoted "a", b',
    "two\r\nlines\n",
    "é 😀 \u2028",
    " ",
    "null",
    "\0",
]
SCHEMA = pa.schema(
    [("id", pa.int64()), ("output", pa.string()), ("error", pa.string())]
)


@pytest.fixture
def outcomes(failed: Make) -> list[Outcome]:
    """Answers of all kinds, failures with and without one, and a shared answer."""
    made = [Outcome(answer=Answer(text=text), attempts=1) for text in TEXTS]
    error = failed().error
    return [*made, failed(), Outcome(answer=Answer(text="cut"), error=error), made[1]]


@pytest.fixture
async def ledger(path: Path, work: WorkIdentity, outcomes: list[Outcome]) -> Path:
    """The finished ledger of these."""
    async with open_ledger(path, work) as opened:
        for index, outcome in enumerate(outcomes[:-1]):
            opened.record(index, index, outcome)
        opened.record(len(outcomes) - 1, 1, outcomes[-1], leader=1)
        await opened.finish(remove=False)
    return path


def cells(outcomes: list[Outcome]) -> list[tuple[str | None, str | None]]:
    """What a file has to say of them."""
    return [
        (
            None if outcome.answer is None else outcome.answer.text,
            None if outcome.error is None else str(outcome.error),
        )
        for outcome in outcomes
    ]


async def write(path: Path, rows: list[tuple[str | None, str | None]]) -> None:
    """An output file, as a run writes it."""
    columns = [range(len(rows)), [row[0] for row in rows], [row[1] for row in rows]]
    async with FileSink(path).open(SCHEMA) as writer:
        await writer.write(pa.record_batch(columns, schema=SCHEMA))
        await writer.finish()


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_what_a_run_wrote_agrees(
    tmp_path: Path, ledger: Path, outcomes: list[Outcome], suffix: str
) -> None:
    """In every format, whatever the answers are."""
    output = tmp_path / f"out{suffix}"
    await write(output, cells(outcomes))
    assert verify(ledger, output) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_planted_differences_are_found(
    tmp_path: Path, ledger: Path, outcomes: list[Outcome], suffix: str
) -> None:
    """Text, error, null in place of an empty text; each with its row."""
    output = tmp_path / f"out{suffix}"
    rows = cells(outcomes)
    rows[0] = (None, None)
    rows[3] = ("two\nlines\n", None)
    rows[8] = (None, "timeout: yes")
    rows[10] = (rows[2][0], None)
    await write(output, rows)
    assert verify(ledger, output) == [
        "row 0: the output is not the recorded answer",
        "row 3: the output is not the recorded answer",
        "row 8: the error is not the recorded one",
        "row 10: the output is not the recorded answer",
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
async def test_missing_and_extra_rows_are_found(
    tmp_path: Path, ledger: Path, outcomes: list[Outcome], suffix: str
) -> None:
    """By their number; rows that follow one that is missing differ as well."""
    output = tmp_path / f"out{suffix}"
    rows = cells(outcomes)
    await write(output, rows[:-2])
    assert verify(ledger, output) == ["the file has 9 rows, the ledger 11"]
    await write(output, [*rows, *rows])
    assert verify(ledger, output) == ["the file has 22 rows, the ledger 11"]
    await write(output, rows[1:])
    assert len(verify(ledger, output)) > 5


async def test_rows_that_the_ledger_lacks_are_named(
    tmp_path: Path, path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The others are still compared with their own."""
    async with open_ledger(path, work) as opened:
        for index in (0, 1, 4):
            opened.record(index, 0, answered(index))
    output = tmp_path / "out.parquet"
    await write(output, cells([answered(index) for index in range(5)]))
    assert verify(path, output) == [
        "row 2: has no outcome in the ledger",
        "row 3: has no outcome in the ledger",
        "the file has 5 rows, the ledger 3",
    ]


async def test_many_problems_are_summed_up(
    tmp_path: Path, path: Path, work: WorkIdentity, answered: Make
) -> None:
    """The report stays readable, and shows nothing of what is in the rows."""
    async with open_ledger(path, work) as opened:
        for index in range(5000):
            opened.record(index, 0, answered(index))
    output = tmp_path / "out.parquet"
    await write(output, [("private", None)] * 5000)
    problems = verify(path, output)
    assert len(problems) == 21
    assert problems[-1] == "and 4980 more"
    assert "private" not in "".join(problems)


async def test_long_answers_in_csv_are_read(
    tmp_path: Path, path: Path, work: WorkIdentity, answered: Make
) -> None:
    """A cell may be larger than what is read at a time."""
    async with open_ledger(path, work) as opened:
        for index in range(4):
            opened.record(index, 0, answered(index, size=9_000_000 * (index == 2)))
    output = tmp_path / "out.csv"
    rows = cells([answered(index, size=9_000_000 * (index == 2)) for index in range(4)])
    await write(output, rows)
    assert verify(path, output) == []
    rows[3] = ("other", None)
    await write(output, rows)
    assert verify(path, output) == ["row 3: the output is not the recorded answer"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.parquet", None, "there is no such file"),
        ("out.parquet", b"PAR1 cut", "cannot be read"),
        ("out.csv", b"id,output\n1,a\n", "cannot be read"),
        ("out.csv.gz", b"\x1f\x8b cut", "cannot be read"),
        ("out.jsonl", b'{"output": "a", "err', "cannot be read"),
    ],
)
async def test_a_file_that_cannot_be_read_is_a_problem(
    tmp_path: Path, ledger: Path, name: str, content: bytes | None, problem: str
) -> None:
    """Missing, cut short, or without the columns that a run writes."""
    output = tmp_path / name
    if content is not None:
        output.write_bytes(content)
    (line,) = verify(ledger, output)
    assert str(output) in line
    assert problem in line


def test_an_unknown_format_is_a_wrong_argument(tmp_path: Path, ledger: Path) -> None:
    """Nothing is read then."""
    with pytest.raises(ConfigurationError, match="not known by its suffix"):
        verify(ledger, tmp_path / "out.xml")


def test_without_a_ledger_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """It is an error, not an agreement."""
    with pytest.raises(StoreError, match="there is no ledger"):
        verify(tmp_path / "none", tmp_path / "out.csv")
