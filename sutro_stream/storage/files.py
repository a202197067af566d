"""Input files behind a path, a list of paths, a glob or a folder."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from os import PathLike, fspath, walk
from pathlib import Path, PurePath
from typing import BinaryIO, TypeAlias
from urllib.parse import unquote

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.storage.stored import add_content, unreadable
from sutro_stream.values.file_identity import file_identity

Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
"""One path, glob or folder, or several of them."""

Accept: TypeAlias = Callable[[str], bool]
"""Whether a file of that name is one that is wanted."""

_SKIPPED = (".", "_")
# What Hive, and all that write as it does, call a folder of rows without a value.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_MOST_ENDINGS_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A `StoredFile` of the file system.

    Attributes:
        path: Where it lies.
        label: How messages call it; the address for a download.
        partition: Columns that its folders' names give all of its rows.
    """

    path: Path
    label: str
    partition: Mapping[str, str | None] = field(default_factory=dict)

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


def describe(paths: Paths) -> str:
    """A short name for what is to be read."""
    names = listed(paths)
    if len(names) == 1:
        return names[0]
    return f"{names[0]} and {len(names) - 1} more" if names else "no files"


def listed(paths: Paths) -> list[str]:
    """One path or several, as texts."""
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def find_files(
    paths: Paths,
    *,
    accept: Sequence[Accept],
    told: Callable[[str], None],
    kind: str = "input",
) -> list[LocalFile]:
    """The files to read, in order: as given, and sorted within a glob or folder.

    A folder is read to its depth. Names that begin with a dot or an underscore are
    skipped in folders and globs; of folders called `key=value` the files get a column.

    Args:
        paths: What the user gave; a path that exists is never taken as a glob.
        accept: Whether a file of that name, in a folder, is one of rows; where the
            first of them accepts nothing, the next one is asked.
        told: Takes what is to be known of files that are not read.
        kind: What the files are, for messages.

    Raises:
        ConfigurationError: No path is given, or it is the address of something else.
        SourceNotFoundError: A path, glob or folder leads to no file.
        SourceError: A path is neither a file nor a folder, or cannot be looked at.
    """
    names = listed(paths)
    if not names:
        message = f"no {kind} file given: the list of paths is empty"
        raise ConfigurationError(message)
    found: list[LocalFile] = []
    for name in names:
        if not name.strip():
            raise ConfigurationError(
                "the input is an empty text; is it a variable that is not set?"
            )
        try:
            found += _behind(name, accept, told, kind)
        except (OSError, ValueError) as error:
            if isinstance(error, SourceError | ConfigurationError):
                raise
            raise unreadable(name, error) from error
    return found


def partition_of(parts: Iterable[str]) -> dict[str, str | None]:
    """Columns and values of folders called `key=value`.

    Args:
        parts: Names of folders, from the outermost on.
    """
    pairs = [part.partition("=") for part in parts]
    return {
        unquote(key): None if value == _NO_VALUE else unquote(value)
        for key, equals, value in pairs
        if key and equals
    }


def is_skipped(name: str) -> bool:
    """Whether a name says that the file, or folder, has no rows."""
    return name.startswith(_SKIPPED)


def tell_unread(place: str, names: Iterable[str], told: Callable[[str], None]) -> None:
    """Say which files of a folder are not read, if there are some."""
    endings = Counter(PurePath(name).suffix or "nothing" for name in names)
    if endings:
        count = endings.total()
        shown = ", ".join(sorted(endings)[:_MOST_ENDINGS_LISTED])
        files = "1 file was" if count == 1 else f"{count:,} files were"
        told(f"{place}: {files} not read (names end in {shown})")


def _behind(
    name: str, accept: Sequence[Accept], told: Callable[[str], None], kind: str
) -> list[LocalFile]:
    path = Path(name)
    if path.is_dir():
        return _in_folder(path, accept, told, kind)
    if path.exists():
        # What is no regular file can be read once, and a source reads twice.
        if not path.is_file():
            message = f"{name}: is not a regular file"
            raise SourceError(message, path=name)
        return [LocalFile(path=path, label=name)]
    if "://" in name:
        message = (
            f"an address ({name.partition('://')[0]}://...) was given where a path is "
            "expected; http(s) addresses are read with read_url"
        )
        raise ConfigurationError(message)
    if glob.has_magic(name):
        return _matching(name, accept, told, kind)
    message = f"{name}: no such file or folder"
    raise SourceNotFoundError(message, path=name)


def _in_folder(
    folder: Path,
    accept: Sequence[Accept],
    told: Callable[[str], None],
    kind: str,
) -> list[LocalFile]:
    there = list(_within(folder))
    found = ([path for path in there if is_of(path.name)] for is_of in accept)
    files = next(filter(None, found), [])
    chosen = frozenset(files)
    others = [path.name for path in there if path not in chosen]
    if not files:
        what = f"{len(others):,} others" if others else "nothing"
        message = f"{folder}: the folder has no {kind} file ({what} in it)"
        raise SourceNotFoundError(message, path=str(folder))
    tell_unread(str(folder), others, told)
    return [
        LocalFile(
            path=path,
            label=str(path),
            partition=partition_of(path.relative_to(folder).parts[:-1]),
        )
        for path in files
    ]


def _within(folder: Path) -> Iterator[Path]:
    """The files of a folder to its depth, by name; links are not followed to folders.

    Those of a folder come before those of the folders in it.
    """
    for parent, folders, names in walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not is_skipped(name))
        for name in sorted(names):
            path = Path(parent, name)
            if not is_skipped(name) and path.is_file():
                yield path


def _raise(error: OSError) -> None:
    raise error


def _matching(
    pattern: str, accept: Sequence[Accept], told: Callable[[str], None], kind: str
) -> list[LocalFile]:
    meant = is_skipped(Path(pattern).name)
    root = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    matching = [
        Path(name)
        for name in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
        if meant or not is_skipped(Path(name).name)
    ]
    files = [
        LocalFile(
            path=path,
            label=str(path),
            partition=partition_of(path.relative_to(root).parts[:-1]),
        )
        for path in matching
        if path.is_file()
    ]
    if not files:
        # A pattern of folders alone means what is in them.
        for folder in filter(Path.is_dir, matching):
            outer = partition_of(folder.relative_to(root).parts)
            files += [
                replace(each, partition={**outer, **each.partition})
                for each in _in_folder(folder, accept, told, kind)
            ]
    if not files:
        message = f"{pattern}: no {kind} file matches"
        raise SourceNotFoundError(message, path=pattern)
    return files
