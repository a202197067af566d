"""README.md and its neighbours say what is so."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import sutro_stream as ss
from sutro_stream.cli.options import RunOptions
from sutro_stream.cli.run import run

ROOT = Path(ss.__file__).parents[1]
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    EXAMPLES / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)


every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in some language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", page.read_text())


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `sutro-stream run` command that a page shows, after `run`."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["sutro-stream", "run"] and "--help" not in words:
                yield words[2:]


@pytest.mark.timeout(120)
async def test_the_program_in_the_readme_runs_as_it_stands() -> None:
    """It prints five rows with their answers, and complains about nothing."""
    program = blocks(README, "python")[0]
    done = await anyio.run_process([sys.executable, "-c", program], cwd=ROOT)
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        *("R001", "R002", "R003", "R004", "R005")
    ]
    for line in lines:
        answer = ast.literal_eval(line.partition(" ")[2])
        assert answer["sentiment"] in {"positive", "negative"}


@every_page
def test_python_in_a_page_is_python_of_this_version(page: Path) -> None:
    """It compiles, and every `ss.name` in it exists."""
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        names = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "ss"
        }
        assert names <= set(ss.__all__)


@every_page
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_commands_in_the_readme_are_understood() -> None:
    """Every option exists, and they go together."""
    shown = list(commands(README))
    assert len(shown) >= 2
    for words in shown:
        with run.make_context("run", words) as context:
            RunOptions(**context.params).check()


async def test_the_first_command_in_the_readme_runs_dry() -> None:
    """Its files exist, and its Function fits them."""
    words = next(commands(README))
    command = [sys.executable, "-m", "sutro_stream", "run", *words, "--dry-run"]
    done = await anyio.run_process(command, cwd=ROOT)
    assert b"48 rows: 48 to send, 0 refused" in done.stdout


@every_page
def test_make_targets_in_a_page_exist(page: Path) -> None:
    """Every `make target` in code."""
    there = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", page.read_text())) <= there


def test_every_example_is_in_the_table_of_examples() -> None:
    """With its file name, and nothing is there that is not."""
    table = (EXAMPLES / "README.md").read_text().partition("\n\n|")[2]
    cells = [row.split("|")[1] for row in table.partition("\n\n")[0].splitlines()[2:]]
    listed = {name for cell in cells for name in re.findall("`(.+?)`", cell)}
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert listed == there - {"README.md"}
