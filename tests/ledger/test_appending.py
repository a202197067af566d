"""Appending to a file: through memory, past its end, and without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sutro_stream.ledger.appending import AppendedFile

# More than any disk holds.
NO_ROOM = 1 << 62
PIECES = [b"one", b"two" * 50, b"three", b"four" * 2000, b"five"]


@pytest.mark.parametrize("room", [NO_ROOM, 1, 200, 4096, 1 << 20])
def test_what_is_appended_is_there_at_once(tmp_path: Path, room: int) -> None:
    """Whatever was prepared; others may find zeros behind it."""
    path = tmp_path / "file"
    file = AppendedFile(path, room=room)
    written = b""
    for piece in PIECES:
        file.append(piece)
        written += piece
        assert path.read_bytes().rstrip(b"\0") == written
        assert file.size == len(written)
    file.close()


@pytest.mark.parametrize("room", [NO_ROOM, 1 << 20])
def test_a_closed_file_has_its_size(tmp_path: Path, room: int) -> None:
    """Nothing that was prepared is left."""
    path = tmp_path / "file"
    file = AppendedFile(path, room=room)
    file.append(b"one")
    file.close()
    file.close()
    assert path.read_bytes() == b"one"


def test_a_file_is_begun_anew(tmp_path: Path) -> None:
    """What an earlier one left is not taken for its own."""
    path = tmp_path / "file"
    path.write_bytes(b"left")
    file = AppendedFile(path, room=1 << 20)
    file.append(b"one")
    file.close()
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("room", [NO_ROOM, 1 << 20])
def test_nothing_can_be_appended_to_a_closed_file(tmp_path: Path, room: int) -> None:
    """It says so, instead of losing it."""
    file = AppendedFile(tmp_path / "file", room=room)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.append(b"one")


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Before anything is appended."""
    with pytest.raises(FileNotFoundError):
        AppendedFile(tmp_path / "none" / "file", room=1)
