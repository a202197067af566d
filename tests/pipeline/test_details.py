"""Columns of what else is known of each answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest

import sutro_stream as ss
from sutro_stream.testing import ScriptedEngine, ScriptedReply, run_virtual
from sutro_stream.values.details import detail_columns
from sutro_stream.values.outcomes import Answer, Outcome, TokenLogprob, Usage

ALL: Any = (
    "usage",
    "finish_reason",
    "model",
    "attempts",
    "seconds",
    "logprob",
    "extracted",
    "reasoning",
)


def read(outcome: Outcome, details: Sequence[str] = ALL) -> dict[str, Any]:
    """The cells of an outcome by the names of their columns."""
    return {
        column.field.name: column.read(outcome) for column in detail_columns(details)
    }


def test_every_detail_of_an_answer() -> None:
    """Reasoning apart from the answer's text."""
    tokens = [TokenLogprob(token="a", logprob=-0.25)] * 3
    answer = Answer(
        text="a",
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=2, cached_tokens=1),
        model="m",
        reasoning="hm",
        logprobs=tuple(tokens),
    )
    outcome = Outcome(answer=answer, attempts=2, extracted=True, seconds=0.5)
    assert read(outcome) == {
        "input_tokens": 3,
        "output_tokens": 2,
        "cached_tokens": 1,
        "finish_reason": "stop",
        "model": "m",
        "attempts": 2,
        "seconds": 0.5,
        "logprob": -0.75,
        "extracted": True,
        "reasoning": "hm",
    }


def test_what_is_not_known_is_null() -> None:
    """Of a row that was never sent, and of an answer that says nothing."""
    for outcome in (Outcome(), Outcome(answer=Answer(text="a"))):
        cells = read(outcome)
        known = {name: cell for name, cell in cells.items() if cell is not None}
        assert known == {"attempts": 0, "extracted": False}


def written(out: Path, sink: Any) -> None:
    """A file of two rows, the second of which takes two attempts of two seconds."""

    def script(prompt: str, attempt: int) -> ScriptedReply:
        error = None
        if prompt == "b" and attempt == 1:
            error = ss.TransportError("reset")
        return ScriptedReply(text=prompt, latency_s=2.0, error=error)

    async def scenario() -> None:
        async with ScriptedEngine(script) as engine:
            pipeline = ss.from_rows(["a", "b"]) | ss.prompts() | ss.infer(engine)
            await (pipeline | sink).run()

    run_virtual(scenario)
    assert out.exists()


def test_details_are_typed_columns_in_parquet(tmp_path: Path) -> None:
    """Behind all others; seconds are those of the last attempt."""
    out = tmp_path / "out.parquet"
    written(out, ss.write_parquet(out, details=["attempts", "seconds", "usage"]))
    schema = pq.read_schema(out)
    assert schema.names[-5:] == [
        "attempts",
        "seconds",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
    ]
    assert [str(kind) for kind in schema.types[-5:]] == [
        "int64",
        "double",
        "int64",
        "int64",
        "int64",
    ]
    table = pl.read_parquet(out)
    assert table["attempts"].to_list() == [1, 2]
    assert table["seconds"].to_list() == pytest.approx([2.0, 2.0])
    assert table["input_tokens"].to_list() == [1, 1]


def test_details_are_columns_of_text_files(tmp_path: Path) -> None:
    """CSV and JSON Lines."""
    out = tmp_path / "out.csv"
    written(out, ss.write_csv(out, details=["model", "finish_reason"]))
    assert out.read_text().splitlines()[0].endswith('"model","finish_reason"')
    out = tmp_path / "out.jsonl"
    written(out, ss.write_jsonl(out, details=["extracted", "reasoning"]))
    line = orjson.loads(out.read_text().splitlines()[0])
    assert (line["extracted"], line["reasoning"]) == (False, None)


@pytest.mark.parametrize(
    ("row", "properties", "details", "told"),
    [
        ({"prompt": "a", "model": "x"}, {}, ["model"], "'model': the input already"),
        ({"prompt": "a"}, {"seconds": {}}, ["seconds"], "'seconds': the output schema"),
        ({"prompt": "a"}, {}, ["tokens"], "'tokens' is no detail"),
        ({"prompt": "a"}, {}, ["model", "model"], "given twice"),
    ],
)
async def test_names_that_collide_are_refused(
    tmp_path: Path,
    row: dict[str, str],
    properties: dict[str, Any],
    details: list[Any],
    told: str,
) -> None:
    """Before anything is sent."""
    schema = {"type": "object", "properties": properties}
    async with ScriptedEngine() as engine:
        prompts = ss.prompts("prompt", json_schema=schema)
        pipeline = ss.from_rows([row]) | prompts | ss.infer(engine)
        sink = ss.write_csv(tmp_path / "out.csv", details=details)
        with pytest.raises(ss.ConfigurationError, match=told):
            await (pipeline | sink).run()
        assert not engine.calls
