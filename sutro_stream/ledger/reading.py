"""Outcomes read back, each held against its checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import orjson

from sutro_stream.flow.outcome_store import KnownRow
from sutro_stream.ledger.encoding import Shared, checksum, decode
from sutro_stream.ledger.statements import numbers
from sutro_stream.values.outcomes import Outcome

_MAX_VARIABLES = 500
_PORTION_ROWS = 1_024
_PORTION_BYTES = 8 << 20


class _Head(NamedTuple):
    """What is stored of a row beside its body."""

    row: int
    digest: int
    checksum: int
    length: int


def read_rows(
    connection: sqlite3.Connection,
    first_index: int,
    stop_index: int,
    *,
    max_bytes: int | None = None,
) -> dict[int, KnownRow]:
    """Outcomes of the rows from `first_index` up to, not with, `stop_index`.

    Stops after the row with which the stored outcomes exceed `max_bytes`, if given.

    Raises:
        ValueError: Something is not what was written.
    """
    found = _heads(connection, "idx >= ? AND idx < ?", (first_index, stop_index))
    heads = _within(found, max_bytes)
    if not heads:
        return {}
    span = (heads[0].row, heads[-1].row + 1)
    rows = _decoded(connection, heads, "idx >= ? AND idx < ?", span)
    needed = (outcome.leader for _, outcome in rows if isinstance(outcome, Shared))
    leaders = {head.row: (head, outcome) for head, outcome in rows}
    others = [index for index in dict.fromkeys(needed) if index not in leaders]
    leaders |= _leaders(connection, others, max_bytes)
    known: dict[int, KnownRow] = {}
    for head, outcome in rows:
        if isinstance(outcome, Shared):
            if outcome.leader not in leaders:
                break
            outcome = _shared(outcome, head, *leaders[outcome.leader])  # noqa: PLW2901
        known[head.row] = KnownRow(digest=head.digest, outcome=outcome)
    return known


def read_portions(
    connection: sqlite3.Connection, start: int, stop: int
) -> Iterator[dict[int, KnownRow]]:
    """Outcomes of the rows from `start` up to `stop`, about a thousand at a time.

    Raises:
        ValueError: Something is not what was written.
    """
    query = "SELECT min(idx) FROM rows WHERE idx >= ? AND idx < ?"
    while (at := connection.execute(query, (start, stop)).fetchone()[0]) is not None:
        portion = min(at + _PORTION_ROWS, stop)
        known = read_rows(connection, at, portion, max_bytes=_PORTION_BYTES)
        yield known
        # What a limit in bytes cut off is read next.
        start = max(known) + 1


def _heads(
    connection: sqlite3.Connection, condition: str, values: Sequence[int]
) -> list[_Head]:
    """In the order of their indices."""
    found = numbers(
        connection,
        "SELECT group_concat(idx || ' ' || digest || ' ' || checksum || ' ' ||"  # noqa: S608
        f" length(body), ' ') FROM (SELECT * FROM rows WHERE {condition} ORDER BY idx)",
        values,
    )
    return [_Head(*found[at : at + 4]) for at in range(0, len(found), 4)]


def _within(heads: Sequence[_Head], max_bytes: int | None) -> Sequence[_Head]:
    """The first of them, up to the one that exceeds the limit."""
    size = 0
    for count, head in enumerate(heads, 1):
        size += head.length
        if max_bytes is not None and size > max_bytes:
            return heads[:count]
    return heads


def _decoded(
    connection: sqlite3.Connection,
    heads: Sequence[_Head],
    condition: str,
    values: Sequence[int],
) -> list[tuple[_Head, Outcome | Shared]]:
    """Bodies of the rows that `condition` selects, which are those of `heads`."""
    (bodies,) = connection.execute(
        "SELECT CAST(group_concat(body, '') AS BLOB) FROM"  # noqa: S608
        f" (SELECT body FROM rows WHERE {condition} ORDER BY idx)",
        values,
    ).fetchone()
    rows = []
    at = 0
    for head in heads:
        body = bodies[at : at + head.length]
        at += head.length
        if checksum(head.row, head.digest, body) != head.checksum:
            raise ValueError("an outcome is not the one that was written")
        rows.append((head, decode(body)))
    return rows


def _leaders(
    connection: sqlite3.Connection, indices: Sequence[int], max_bytes: int | None
) -> dict[int, tuple[_Head, Outcome | Shared]]:
    """Rows whose outcomes are shared; the first of `indices` that fit the limit."""
    leaders: dict[int, tuple[_Head, Outcome | Shared]] = {}
    for start in range(0, len(indices), _MAX_VARIABLES):
        part = indices[start : start + _MAX_VARIABLES]
        heads = {head.row: head for head in _heads(connection, _among(part), part)}
        if len(heads) < len(part):
            raise ValueError("a shared outcome is missing")
        fitting = sorted(
            _within([heads[index] for index in part], max_bytes),
            key=lambda head: head.row,
        )
        chosen = [head.row for head in fitting]
        rows = _decoded(connection, fitting, _among(chosen), chosen)
        leaders.update((head.row, (head, outcome)) for head, outcome in rows)
        if len(fitting) < len(part):
            break
    return leaders


def _among(indices: Sequence[int]) -> str:
    return f"idx IN ({','.join('?' * len(indices))})"


def _shared(
    shared: Shared, head: _Head, leading: _Head, outcome: Outcome | Shared
) -> Outcome:
    if isinstance(outcome, Shared) or head.digest != leading.digest:
        raise ValueError("a shared outcome belongs to another prompt")
    return replace(outcome, attempts=shared.attempts)


def read_reusable(
    connection: sqlite3.Connection, digests: Mapping[int, int]
) -> dict[int, Outcome]:
    """Answers to prompts, given to rows of another input.

    By row, as are the `digests` of the prompts wanted; that of the row of the same
    index, else that of the first with the prompt.

    Raises:
        ValueError: Something is not what was written.
    """
    # An index is looked into for each, however many rows have the same prompt.
    found = connection.execute(
        "SELECT asked.row, idx, digest, checksum, body FROM"
        " (SELECT json_extract(value, '$[0]') AS row, json_extract(value, '$[1]') AS"
        " wanted FROM json_each(?)) AS asked JOIN reusable ON digest = wanted AND"
        " idx = coalesce("
        "(SELECT idx FROM reusable WHERE digest = wanted AND idx = asked.row),"
        " (SELECT min(idx) FROM reusable WHERE digest = wanted))",
        (orjson.dumps([*digests.items()]).decode(),),
    )
    answers = {}
    for row, index, digest, expected, body in found:
        outcome = decode(body)
        if checksum(index, digest, body) != expected or isinstance(outcome, Shared):
            raise ValueError("an answer is not the one that was written")
        # Paid for by the row that it was given to first.
        answers[row] = replace(outcome, attempts=0)
    return answers
