"""`sutro-stream run --dry-run`: everything but the sending."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Four rows, one of them without a text."""
    path = tmp_path / "reviews.csv"
    path.write_text('id,text\n1,"Works\nwell"\n2,\n3,Broke\x1b[2J\n4,Fine\n')
    return path


@pytest.fixture
def function(tmp_path: Path) -> Path:
    """A Function that requires the text."""
    path = tmp_path / "function.json"
    path.write_text(
        json.dumps(
            {
                "name": "judge",
                "model": "some-model",
                "inputs": [{"name": "text"}],
                "system_prompt": "Judge this.",
                "prompt_template": "Text: {{ text }}",
                "output_schema": {"type": "object"},
                "sampling_params": {"temperature": 0},
            }
        )
    )
    return path


async def test_it_shows_prompts_and_counts(
    run: Run, reviews: Path, function: Path
) -> None:
    """No engine and no output is needed; every row is counted."""
    code, out, err = await run(reviews, "--function", function, "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "dry run: nothing was sent",
        "engine: the embedded engine",
        "model: its default",
        'sampling: {"temperature": 0.0}',
        "system prompt:",
        "  Judge this.",
        "output schema:",
        "  {",
        '    "type": "object"',
        "  }",
        "prompt of row 1:",
        "  Text: Works",
        "  well",
        "row 2 is refused: missing_value: the required input 'text' has no value",
        "prompt of row 3:",
        "  Text: Broke�[2J",
        "4 rows: 3 to send, 1 refused",
        "  missing_value           1  a required input has no value; not sent",
        "about 19 input tokens (an estimate: 4 characters a token)",
    ]


async def test_it_names_an_endpoint_without_asking_it(
    run: Run, reviews: Path, url_query: str
) -> None:
    """The address is shown without its query; nobody needs to listen there."""
    code, out, _ = await run(
        reviews,
        *("--column", "text", "--dry-run", "--show", "0", "--model", "big"),
        *("--engine", f"http://127.0.0.1:9/v1?{url_query}"),
    )
    assert code == 0
    assert "engine: http://127.0.0.1:9\n" in out
    assert "model: big\n" in out
    assert "prompt of row" not in out


async def test_it_counts_within_the_limit(run: Run, reviews: Path) -> None:
    """A limit holds for a dry run as well."""
    _, out, _ = await run(reviews, "--column", "text", "--dry-run", "--limit", "1")
    assert "1 rows: 1 to send, 0 refused" in out


async def test_long_prompts_are_cut_for_showing(run: Run, tmp_path: Path) -> None:
    """The whole prompt is counted, its beginning is shown."""
    (tmp_path / "long.csv").write_text(f"text\n{'x' * 5000}\n")
    _, out, _ = await run(tmp_path / "long.csv", "--column", "text", "--dry-run")
    assert "x ... (3,000 more characters)" in out
    assert "about 1,250 input tokens" in out


async def test_it_fails_when_no_row_can_be_sent(
    run: Run, tmp_path: Path, function: Path
) -> None:
    """A column of empty cells is found out before it costs anything."""
    (tmp_path / "empty.csv").write_text("id,text\n1,\n2,\n")
    code, out, err = await run(
        tmp_path / "empty.csv", "--function", function, "--dry-run"
    )
    assert code == 1
    assert "2 rows: 0 to send, 2 refused" in out
    assert err == "error: no row can be sent; the reasons are above\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--columns", "nam"), "'nam': no such input column"),
        (("--output", "out.xlsx"), "the format is not known by its suffix"),
        (("--sampling", "bad_words=[]"), "bad_words"),
    ],
)
async def test_it_finds_what_the_run_would_end_in(
    run: Run, reviews: Path, options: tuple[str, ...], expected: str
) -> None:
    """Mistakes of the output and of the engine's options show up as well."""
    code, _, err = await run(reviews, "--column", "text", "--dry-run", *options)
    assert code == 2
    assert expected in err
