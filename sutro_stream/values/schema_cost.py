"""What it can cost at most to hold an answer against a JSON Schema.

A schema of a few lines can ask for more work than there is time: definitions that
name each other twice double it with each step. So schemas are counted out before they
are used: every subschema once for each way that leads to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log
from typing import Any
from urllib.parse import unquote

from sutro_stream.errors import ConfigurationError

MAX_WAYS = 10_000
"""Most subschemas of a schema, each counted once for every way that leads to it."""

_DEEPEST = 500
# Some tens of nanoseconds each; and as many microseconds where the failure is told.
_CHECKED = 50_000_000
_CHECKED_RECURSIVELY = 1 << 20
_TOLD = 1 << 16
_TOLD_RECURSIVELY = 1 << 10

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_HERE = ("not", "if", "then", "else")
_HERE_LISTS = ("allOf", "anyOf", "oneOf")
_HERE_TABLES = ("dependentSchemas", "dependencies")
_ANY_PROPERTY = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ANY_ITEM = ("items", "prefixItems", "additionalItems", "contains", "unevaluatedItems")
_ITEM = "[]"
_PROPERTY = "{}"


@dataclass(frozen=True, slots=True)
class SchemaCost:
    """Upper bounds for one schema.

    Attributes:
        width: Most subschemas that one place of an answer is held against, where
            nothing recurs.
        recurrence: How many ways lead from a place of an answer back into the schema;
            above 1 the work can grow with each level.
    """

    width: int
    recurrence: int

    def may_be_checked(self, text: str, value: Any) -> bool:
        """Whether an answer can be held against the schema in bounded time.

        Args:
            text: The answer.
            value: The same, parsed.
        """
        return self._is_within(text, value, _CHECKED, _CHECKED_RECURSIVELY)

    def may_be_told(self, text: str, value: Any) -> bool:
        """Whether there is time to find out where an answer does not conform."""
        return self._is_within(text, value, _TOLD, _TOLD_RECURSIVELY)

    def _is_within(self, text: str, value: Any, flat: int, recursive: int) -> bool:
        if self.width > 1 and self.width * len(text) > flat:
            return False
        if self.recurrence < 2:
            return True
        return not _is_deeper(value, int(log(recursive, self.recurrence)))


def cost_of(definition: Mapping[str, Any]) -> SchemaCost:
    """Count a schema out.

    Raises:
        ConfigurationError: It has more than `MAX_WAYS` of them, or a reference that
            is neither `#`, `#/...` nor `#name`.
    """
    count = _Count(definition)
    count.visit()
    return SchemaCost(
        width=max(count.places.values(), default=1),
        recurrence=max(count.returns.values(), default=0),
    )


class _Count:
    """A walk along every way through a schema.

    Attributes:
        places: Subschemas by the place of the answer that they are held against.
        returns: References back to where the way came from, by the same.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.places: Counter[int] = Counter()
        self.returns: Counter[int] = Counter()
        self._root = root
        self._anchors = _anchors(root)
        # Else a property may be meant by more than its name.
        self._names_count = not _has_patterns(root)
        self._numbers: dict[tuple[int, str], int] = {}

    def visit(self) -> None:
        """Take every way."""
        waiting: list[tuple[Any, int, tuple[int, ...]]] = [(self._root, 0, ())]
        ways = 0
        while waiting:
            schema, place, way = waiting.pop()
            self.places[place] += 1
            ways += 1
            if ways > MAX_WAYS or len(way) > _DEEPEST:
                raise ConfigurationError(
                    f"it is too complex: more than {MAX_WAYS} subschemas, each counted "
                    f"once for every way that leads to it, or more than {_DEEPEST} in "
                    "each other"
                )
            if not isinstance(schema, Mapping):
                continue
            here = (*way, id(schema))
            for target in self._targets(schema):
                if id(target) in here:
                    self.returns[place] += 1
                else:
                    waiting.append((target, place, here))
            waiting += [(part, place, here) for part in _parts_here(schema)]
            waiting += [
                (part, self._number(place, step), here)
                for step, part in self._parts_below(schema)
            ]

    def _number(self, place: int, step: str) -> int:
        return self._numbers.setdefault((place, step), len(self._numbers) + 1)

    def _targets(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        if "$id" in schema and schema is not self._root:
            raise ConfigurationError("$id is for the whole schema only")
        for keyword in _REFERENCES:
            if isinstance(name := schema.get(keyword), str):
                yield self._target(name)

    def _target(self, reference: str) -> Any:
        start, _, name = reference.partition("#")
        if start in {"", self._root.get("$id")}:
            if name in self._anchors:
                return self._anchors[name]
            if not name or name.startswith("/"):
                # A name that leads nowhere was refused before.
                return _at(self._root, name)
        raise ConfigurationError(
            "a reference must stay inside the schema: '#', '#/...' or '#name'"
        )

    def _parts_below(self, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for keyword in ("properties", "patternProperties"):
            if isinstance(table := schema.get(keyword), Mapping):
                for name, part in table.items():
                    yield f".{name}" if self._names_count else _PROPERTY, part
        for keyword in _ANY_PROPERTY:
            if keyword in schema:
                yield _PROPERTY, schema[keyword]
        for keyword in _ANY_ITEM:
            parts = schema.get(keyword)
            for part in parts if isinstance(parts, list) else [parts]:
                if part is not None:
                    yield _ITEM, part


def _parts_here(schema: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in _HERE:
        if keyword in schema:
            yield schema[keyword]
    for keyword in _HERE_LISTS:
        if isinstance(parts := schema.get(keyword), list):
            yield from parts
    for keyword in _HERE_TABLES:
        if isinstance(table := schema.get(keyword), Mapping):
            yield from table.values()


def _has_patterns(definition: Any) -> bool:
    """Whether there are schemas for properties that are not named."""
    return any(
        isinstance(part.get(keyword), Mapping)
        for part in _mappings(definition)
        for keyword in (*_ANY_PROPERTY, "patternProperties")
    )


def _anchors(definition: Any) -> dict[str, Any]:
    return {
        part[keyword]: part
        for part in _mappings(definition)
        for keyword in _ANCHORS
        if isinstance(part.get(keyword), str)
    }


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _at(root: Any, pointer: str) -> Any:
    place = root
    for part in pointer.split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(place, list):
            place = place[int(name)] if name.isdecimal() else None
        else:
            place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested more deeply than so many levels."""
    parts = [value]
    for _ in range(levels + 1):
        parts = [
            inner
            for part in parts
            if isinstance(part, dict | list)
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
        if not parts:
            return False
    return True
