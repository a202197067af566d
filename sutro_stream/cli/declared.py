"""Options of a command, each declared in one place: as a field of a dataclass.

Light, so that `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
AT_LEAST_ONE = click.IntRange(min=1)
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DECLARED = "declared"


class Group(Enum):
    """The groups in which help shows options, in order."""

    ASKING = "What to ask"
    ANSWERING = "Who answers"
    LIMITS = "Limits"
    INPUT = "Input"
    OUTPUT = "Output"
    GOING_ON = "Going on"
    TRYING_OUT = "Trying out"


class Needs(Enum):
    """What an option is of use with only, and the words for it where it is not."""

    ENDPOINT = "is for an endpoint; name it with --engine URL"
    JOBS = "is for jobs; add --deployment URL"
    REQUESTS = (
        "is for requests that are made here; with --deployment the deployment makes "
        "them"
    )
    OWN_PROMPT = (
        "cannot be combined with --function: a Function brings its own prompt and "
        "schema"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """An option as it was declared.

    Attributes:
        field: Name of the field.
        group: Where help shows it.
        needs: What it is of use with only.
        default: What stands for "not given".
        names: As typed, the long one first.
        further: More arguments of `click.Option`.
    """

    field: str
    group: Group
    needs: frozenset[Needs]
    default: Any
    names: tuple[str, ...]
    further: Mapping[str, Any]

    def parameter(self) -> click.Option:
        """As click has it."""
        further = dict(self.further)
        if self.default not in (None, (), False):
            further["show_default"] = True
        if self.default is False:
            further["is_flag"] = True
        if self.default == ():
            further["multiple"] = True
        else:
            further["default"] = self.default
        return click.Option([*self.names, self.field], **further)


def option(
    group: Group,
    *names: str,
    needs: Needs | tuple[Needs, ...] = (),
    default: Any = None,
    **further: Any,
) -> Any:
    """A field that is an option.

    Args:
        group: Where help shows it.
        names: As typed, the long one first.
        needs: What it is of use with only.
        default: `False` makes it a flag, `()` one that may be given several times.
        further: Arguments of `click.Option`: type, metavar and help.
    """
    needed = frozenset((needs,) if isinstance(needs, Needs) else needs)
    declared = (group, needed, names, further)
    return dataclasses.field(default=default, metadata={_DECLARED: declared})


def options_of(record: type) -> Iterator[Declared]:
    """The options that a dataclass declares."""
    for field in dataclasses.fields(record):
        if (declared := field.metadata.get(_DECLARED)) is not None:
            group, needs, names, further = declared
            yield Declared(
                field=field.name,
                group=group,
                needs=needs,
                default=field.default,
                names=names,
                further=further,
            )


def takes(
    record: type, *, only: Collection[str] | None = None
) -> Callable[[CommandT], CommandT]:
    """Let a command have the options of a dataclass.

    Args:
        record: The dataclass.
        only: Fields of the options wanted, `None` for all.
    """

    def add(command: CommandT) -> CommandT:
        parameters = [
            declared.parameter()
            for declared in options_of(record)
            if only is None or declared.field in only
        ]
        known = getattr(command, "__click_params__", [])
        command.__click_params__ = [*known, *reversed(parameters)]  # type: ignore[attr-defined]
        return command

    return add


class GroupedCommand(click.Command):
    """A command whose help shows its many options in groups.

    Attributes:
        record: The dataclass that declares them.
    """

    def __init__(self, *args: Any, record: type, **further: Any) -> None:
        """As `click.Command`, for the options of a dataclass."""
        super().__init__(*args, **further)
        self.record = record

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write one titled list for each group."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        }
        shown = list(options_of(self.record))
        for group in Group:
            with formatter.section(group.value):
                formatter.write_dl(
                    [records.pop(one.field) for one in shown if one.group is group]
                )
        with formatter.section("Help"):
            formatter.write_dl(list(records.values()))


class Concurrency(click.ParamType[int | str]):
    """A number of at least 1, or `auto`."""

    name = "number or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The number, or the word."""
        if value == "auto":
            return value
        try:
            return AT_LEAST_ONE.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a number of at least 1 nor auto", param)


class Duration(click.ParamType[float]):
    """Seconds, as `90`, `90s`, `10m`, `2h` or `1d`, or `forever`: infinite."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The seconds."""
        if isinstance(value, float):
            return value
        if value == "forever":
            return math.inf
        unit = _UNITS_S.get(value[-1:], 1.0)
        number = value[:-1] if value[-1:] in _UNITS_S else value
        try:
            return click.FloatRange(min=0, max=1e9).convert(number, param, ctx) * unit
        except click.BadParameter:
            message = f"{value!r} is no duration such as 90s, 10m or 2h, nor forever"
            self.fail(message, param)
