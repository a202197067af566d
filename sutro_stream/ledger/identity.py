"""What a ledger is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkIdentity:
    """The work whose answers a ledger keeps; answers of other work do not fit it.

    Attributes:
        parts: Short texts or digests, by a name that a person understands:
            `{"model": "m", "system prompt": "5f1c…", …}`. No secrets: they are
            stored, and shown by `inspect`.
    """

    parts: Mapping[str, str]

    def differences(self, other: WorkIdentity) -> tuple[str, ...]:
        """Names of the parts that differ or exist on one side only.

        Returns:
            In the order of this side's parts, then those that only `other` has;
            empty for the same work.
        """
        mine, theirs = self.parts, other.parts
        changed = [name for name in mine if mine[name] != theirs.get(name)]
        return (*changed, *(name for name in theirs if name not in mine))
