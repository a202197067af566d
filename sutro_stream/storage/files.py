"""Input files behind a path, a list of paths, a glob or a folder."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, TypeAlias

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.storage.stored import add_content, file_error, unreadable
from sutro_stream.values.file_identity import file_identity

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
"""One path, glob or folder, or several of them."""

_SKIPPED = (".", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A `StoredFile` of the file system.

    Attributes:
        path: Where it lies.
        label: How messages call it; the address for a download.
    """

    path: Path
    label: str

    @property
    def name(self) -> str:
        """See `StoredFile`."""
        return self.path.name

    def open(self) -> BinaryIO:
        """See `StoredFile`."""
        return self.path.open("rb")

    def size(self) -> int:
        """See `StoredFile`."""
        return self.path.stat().st_size

    def state(self) -> str:
        """See `StoredFile`."""
        return file_identity(self.path)

    def add_to(self, digest: hashlib._Hash) -> None:
        """See `StoredFile`."""
        with self.path.open("rb") as file:
            add_content(digest, file, self.size())

    def error(self, reason: str, *, row_index: int | None = None) -> SourceError:
        """An error about this file, not raised."""
        return file_error(self, reason, row_index=row_index)


def describe(paths: Paths) -> str:
    """A short name for what is to be read."""
    names = _listed(paths)
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more" if names else "no files"


def find_files(
    paths: Paths, *, suffixes: tuple[str, ...], kind: str
) -> list[LocalFile]:
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
    found: list[LocalFile] = []
    for name in names:
        try:
            found += _behind(name, suffixes, kind)
        except (OSError, ValueError) as error:
            if isinstance(error, SourceError | ConfigurationError):
                raise
            raise unreadable(name, error) from error
    return found


def _listed(paths: Paths) -> list[str]:
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def _behind(name: str, suffixes: tuple[str, ...], kind: str) -> list[LocalFile]:
    scheme = name.partition("://")[0] if "://" in name else None
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, suffixes, kind)
    if path.exists():
        if not path.is_file():
            message = f"{name}: is not a regular file"
            raise SourceError(message, path=name)
        return [LocalFile(path=path, label=name)]
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


def _in_folder(folder: Path, suffixes: tuple[str, ...], kind: str) -> list[LocalFile]:
    files = [
        LocalFile(path=path, label=str(path))
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


def _matching(pattern: str, kind: str) -> list[LocalFile]:
    meant = Path(pattern).name.startswith(_SKIPPED)
    files = [
        LocalFile(path=Path(name), label=name)
        for name in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        if (meant or not Path(name).name.startswith(_SKIPPED)) and Path(name).is_file()
    ]
    if not files:
        message = f"{pattern}: no {kind} file matches"
        raise SourceNotFoundError(message, path=pattern)
    return files
