"""One error out of a group: what a caller of the public surface gets to see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from sutro_stream.errors import SutroStreamError, leaves

_ECHOES = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@contextmanager
def single_error() -> Iterator[None]:
    """Raise the one error that a group stands for, instead of the group.

    Neighbours of a failed task fail with a broken stream: echoes, left out.
    Several errors of this package at once, or several that are alike, have one cause
    (every worker met the same wrong key); the first speaks for all. Unrelated errors
    stay a group.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(leaves(group))
        errors = [e for e in errors if not isinstance(e, _ECHOES)] or errors
        ours = all(isinstance(error, SutroStreamError) for error in errors)
        alike = len({(type(error), str(error)) for error in errors}) == 1
        if alike or ours:
            error = errors[0]
            raise error from error.__cause__
        raise
