"""Input files behind a path, a list of paths, a glob or a folder."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
"""One path, glob or folder, or several of them."""

_SKIPPED = (".", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One file to read.

    Attributes:
        path: Where it lies.
        label: How messages call it; the address for a download.
    """

    path: Path
    label: str

    def error(self, reason: str, *, row_index: int | None = None) -> SourceError:
        """An error about this file, not raised."""
        return SourceError(
            f"{self.label}: {reason}", path=self.label, row_index=row_index
        )


def describe(paths: Paths) -> str:
    """A short name for what is to be read."""
    names = _listed(paths)
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more" if names else "no files"


def find_files(
    paths: Paths, *, suffixes: tuple[str, ...], kind: str
) -> list[InputFile]:
    """The files to read, in order: as given, and sorted within a glob or folder.

    In a folder only names ending in one of `suffixes` count, and not those in its
    subfolders; names that begin with a dot or an underscore are skipped there and
    in a glob.

    Args:
        paths: What the user gave; a path that exists is never taken as a glob.
        suffixes: Lower-case endings of file names in folders.
        kind: What the files are, for messages.

    Raises:
        ConfigurationError: No path is given, or it is the address of something else.
        SourceNotFoundError: A path, glob or folder leads to no file.
        SourceError: A path is neither a file nor a folder, or cannot be looked at.
    """
    names = _listed(paths)
    if not names:
        message = f"no {kind} file given: the list of paths is empty"
        raise ConfigurationError(message)
    found: list[InputFile] = []
    for name in names:
        try:
            found += _behind(name, suffixes, kind)
        except (OSError, ValueError) as error:
            if isinstance(error, SourceError | ConfigurationError):
                raise
            raise unreadable(name, error) from error
    return found


def unreadable(label: str, error: Exception) -> SourceError:
    """The system's refusal to read `label`, as our error, not raised."""
    if isinstance(error, FileNotFoundError):
        message = f"{label}: no such file or folder"
        return SourceNotFoundError(message, path=label)
    reason = error.strerror if isinstance(error, OSError) else None
    message = f"{label}: cannot be read: {(reason or type(error).__name__).lower()}"
    return SourceError(message, path=label)


def _listed(paths: Paths) -> list[str]:
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def _behind(name: str, suffixes: tuple[str, ...], kind: str) -> list[InputFile]:
    scheme = name.partition("://")[0] if "://" in name else None
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, suffixes, kind)
    if path.exists():
        if not path.is_file():
            message = f"{name}: is not a regular file"
            raise SourceError(message, path=name)
        return [InputFile(path=path, label=name)]
    if scheme is not None:
        message = (
            f"an address ({scheme}://...) was given where a path is expected; "
            "http(s) addresses are read with read_url"
        )
        raise ConfigurationError(message)
    if glob.has_magic(name):
        return _matching(name, kind)
    message = f"{name}: no such file or folder"
    raise SourceNotFoundError(message, path=name)


def _in_folder(folder: Path, suffixes: tuple[str, ...], kind: str) -> list[InputFile]:
    files = [
        InputFile(path=path, label=str(path))
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(suffixes)
        and not path.name.startswith(_SKIPPED)
        and path.is_file()
    ]
    if not files:
        message = (
            f"{folder}: the folder has no {kind} file "
            f"(names ending in {', '.join(suffixes)})"
        )
        raise SourceNotFoundError(message, path=str(folder))
    return files


def _matching(pattern: str, kind: str) -> list[InputFile]:
    meant = Path(pattern).name.startswith(_SKIPPED)
    files = [
        InputFile(path=Path(name), label=name)
        for name in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        if (meant or not Path(name).name.startswith(_SKIPPED)) and Path(name).is_file()
    ]
    if not files:
        message = f"{pattern}: no {kind} file matches"
        raise SourceNotFoundError(message, path=pattern)
    return files
