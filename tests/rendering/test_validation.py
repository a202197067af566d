"""Columns against declared input types."""

from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.rendering.validation import check
from sutro_stream.values.function import InputType

TEXT, INTEGER, NUMBER = InputType.TEXT, InputType.INTEGER, InputType.NUMBER
BOOLEAN, JSON = InputType.BOOLEAN, InputType.JSON


def verdicts(column: pa.Array, declared: InputType) -> str:
    """One letter for each row: `.` fits, `m` missing, `w` wrong."""
    checked = check(column, declared)
    nowhere = [False] * len(column)
    wrong = nowhere if checked.wrong is None else checked.wrong.to_pylist()
    missing = nowhere if checked.missing is None else checked.missing.to_pylist()
    assert not any(w and m for w, m in zip(wrong, missing, strict=True))
    return "".join(
        "w" if w else "m" if m else "." for w, m in zip(wrong, missing, strict=True)
    )


@pytest.mark.parametrize(
    ("declared", "cells", "expected"),
    [
        (TEXT, ["a", "", " ", None], "...m"),
        (INTEGER, ["007", "-1", "+5", " 12 ", "3.0", "3.", "9" * 40], "......."),
        (
            INTEGER,
            ["3.5", "1e3", "x", "1 2", "1_000", "٣", "0x1", "", None, " "],
            "wwwwwwwmmw",
        ),
        (NUMBER, ["1", "-1.5", ".5", "5.", "1e-3", "+2E+8", " 7 "], "......."),
        (NUMBER, ["nan", "inf", ".", "1,5", "1e", "--1", "", None], "wwwwwwmm"),
        (BOOLEAN, ["true", "False", "TRUE", " true "], "...."),
        (BOOLEAN, ["yes", "1", "t", "", None], "wwwmm"),
        (JSON, ["1", '"a"', "[1]", ' {"a": {}} ', "null"], "....."),
        (JSON, ["a", "{", "NaN", "[1],[2]", "'a'", "", None], "wwwwwmm"),
    ],
)
def test_text_cells_are_read_as_the_declared_type(
    declared: InputType, cells: list[str | None], expected: str
) -> None:
    """CSV cells, which are all text, fit when they read as the type."""
    assert verdicts(pa.array(cells, pa.string()), declared) == expected


@pytest.mark.parametrize(
    ("declared", "column", "expected"),
    [
        (INTEGER, pa.array([1, None], pa.int8()), ".m"),
        (INTEGER, pa.array([1.0, 1.5, float("nan"), None]), ".wmm"),
        (INTEGER, pa.array([True]), "w"),
        (INTEGER, pa.array([[1]]), "w"),
        (NUMBER, pa.array([1]), "."),
        (NUMBER, pa.array([1.5, 1e300, 1e-9, float("inf"), float("nan")]), "...wm"),
        (NUMBER, pa.array(["1.5"]).cast(pa.decimal128(5, 2)), "."),
        (NUMBER, pa.array([0], pa.date32()), "w"),
        (BOOLEAN, pa.array([True, False, None]), "..m"),
        (BOOLEAN, pa.array([1]), "w"),
        (JSON, pa.array([{"a": 1}, None]), ".m"),
        (JSON, pa.array([[], [1]]), ".."),
        (JSON, pa.array([1, 2]), ".."),
        (TEXT, pa.array([{"a": 1}, None]), ".m"),
        (TEXT, pa.array([b"\xff", None, b"a"]), "wm."),
        (INTEGER, pa.array([b"\xff", None, b"1", b"a"]), "wm.w"),
        (TEXT, pa.nulls(2), "mm"),
        (JSON, pa.nulls(2), "mm"),
        (INTEGER, pa.array(["1", "x"]).dictionary_encode(), ".w"),
        (INTEGER, pa.array([], pa.string()), ""),
    ],
)
def test_typed_columns_are_held_against_the_declared_type(
    declared: InputType, column: pa.Array, expected: str
) -> None:
    """Columns with a type of their own fit when it is the declared one."""
    assert verdicts(column, declared) == expected


@pytest.mark.parametrize(
    ("declared", "cells"),
    [(INTEGER, ["007", " 1"]), (BOOLEAN, ["True"]), (JSON, ['{ "a" : 1 }'])],
)
def test_what_fits_stays_as_it_is_in_the_file(
    declared: InputType, cells: list[Any]
) -> None:
    """Validation changes nothing: `007` reaches the prompt as `007`."""
    assert check(pa.array(cells), declared).texts.to_pylist() == cells
