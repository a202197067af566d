"""Words to the person at the terminal."""

from __future__ import annotations

import pytest

from sutro_stream.cli.messages import complain, duration, indented, printable


def test_control_characters_are_replaced() -> None:
    """Text from elsewhere cannot command the terminal; lines and tabs stay."""
    assert printable("a\x1b[2Jb\x07\x9bc\r\n\td") == "a�[2Jb��c�\n\td"


def test_emoji_and_other_scripts_stay() -> None:
    """Only control characters are replaced."""
    text = "سلام 👩‍👩‍👧 naïve"
    assert printable(text) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1:00 min"), (3723.2, "1:02:03")],
)
def test_durations(seconds: float, text: str) -> None:
    """A length of time is told in the unit that suits it."""
    assert duration(seconds) == text


def test_each_line_is_indented() -> None:
    """Empty text is still one line."""
    assert indented("a\nb") == "  a\n  b"
    assert indented("") == "  "


def test_complaints_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake is one labelled message, and stdout stays clean."""
    complain("no such thing")
    assert capsys.readouterr() == ("", "error: no such thing\n")
