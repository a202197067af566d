"""Ready-made tasks of the SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]


def test_embeddings_are_lists_of_numbers(value: Value) -> None:
    """One for each text, in order."""
    assert value("embed") == {
        "columns": ["inference_result"],
        "type": "List(Float64)",
        "vectors": [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0], [3.0, 0.5, -1.0]],
    }


def test_embeddings_are_lists_in_files_too(value: Value) -> None:
    """Not text."""
    vectors = {"outputs": [[1.0, 0.5, -1.0], [2.0, 0.5, -1.0]]}
    assert value("embed_a_frame") == vectors


def test_scores_are_numbers(value: Value) -> None:
    """Within their range, joined to whatever the texts came in."""
    scores = value("score")
    assert scores["list"] == {"score": [0, 0]}
    assert scores["polars"] == {"t": ["a", "b"], "score": [0, 0]}
    assert scores["pandas"]["t"] == ["a", "b"]
    assert all(1 <= score <= 5 for score in scores["pandas"]["score"])


def test_classes_come_with_their_reasons(value: Value) -> None:
    """Without them, the SDK itself fails on every deployment."""
    assert set(value("classify")) == {"scratchpad", "classification"}
