"""A place for a ledger, and outcomes to put into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, RowError, Usage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger goes, alone in its folder."""
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder / "out.parquet.ledger"


@pytest.fixture
def work() -> WorkIdentity:
    """Some work."""
    return WorkIdentity(parts={"source": "5f1c", "model": "m", "template": "a9d0"})


@pytest.fixture
def answered() -> Callable[..., Outcome]:
    """Makes an answer that tells its row, after some requests."""

    def make(index: int, *, attempts: int = 1, size: int = 0) -> Outcome:
        return Outcome(
            answer=Answer(
                text=f"answer {index} " + "x" * size,
                finish_reason="stop",
                usage=Usage(input_tokens=10, output_tokens=2),
                model="m",
            ),
            attempts=attempts,
        )

    return make


@pytest.fixture
def failed() -> Callable[..., Outcome]:
    """Makes a failure, after some requests."""

    def make(kind: ErrorKind = ErrorKind.REJECTED, *, attempts: int = 1) -> Outcome:
        return Outcome(error=RowError(kind=kind, message="no"), attempts=attempts)

    return make
