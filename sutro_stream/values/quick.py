"""Dataclasses that are made in a fifth of the time.

A frozen dataclass sets each field through `object.__setattr__`: a microsecond for an
answer, of which one is made for every row. A struct of msgspec's has the same fields in
the same layout, and sets them in C.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from types import new_class
from typing import Any, TypeVar, cast

import msgspec

ClassT = TypeVar("ClassT", bound=type)

# What the struct has of its own, or what belongs to the layout of the other class.
_NOT_TAKEN_OVER = frozenset(
    {
        "__annotations__",
        "__delattr__",
        "__dict__",
        "__eq__",
        "__getstate__",
        "__hash__",
        "__init__",
        "__match_args__",
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__setattr__",
        "__setstate__",
        "__slots__",
        "__weakref__",
    }
)


def quick(cls: ClassT) -> ClassT:
    """A struct with the fields, methods and signature of a dataclass.

    It passes for the dataclass: `dataclasses.replace`, `fields` and `asdict` know it.
    For the few classes of which instances are made for every row.

    Args:
        cls: Made by `@dataclass(slots=True, kw_only=True)`, frozen or compared by
            identity (`eq=False`), without factories of defaults and without
            `__post_init__`.

    Raises:
        TypeError: It is another kind of class.
    """
    own: list[Field[Any]] = list(fields(cls))
    if hasattr(cls, "__post_init__") or any(
        not each.init or each.default_factory is not MISSING for each in own
    ):
        raise TypeError(f"{cls.__name__} needs the usual __init__")
    names = {each.name for each in own}
    namespace = {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_TAKEN_OVER and name not in names
    }
    options: Any = cls.__dataclass_params__  # type: ignore[attr-defined]
    if not options.eq or not all(each.compare for each in own):
        # Made by the dataclass, and good for anything with these attributes.
        namespace["__eq__"], namespace["__hash__"] = cls.__eq__, cls.__hash__
    defaults = {each.name: each.default for each in own if each.default is not MISSING}
    bases = getattr(cls, "__orig_bases__", cls.__bases__)
    made = new_class(
        cls.__name__,
        (msgspec.Struct, *(base for base in bases if base is not object)),
        {"frozen": options.frozen, "kw_only": True},
        lambda body: body.update(
            namespace
            | defaults
            | {
                "__annotations__": cls.__annotations__,
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
            }
        ),
    )
    return cast("ClassT", made)
