"""What accounts are not told about how a deployment is built."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"https?://(?:\[[^\]\s]*\]|[^\s/,;:)]+)(?::\d+)?(?:/[^\s,;:)]*)?")


def without_addresses(message: str) -> str:
    """An engine's message without the address of the endpoint it speaks of.

    Where a model is served is the operator's own affair; their log has it.
    """
    return _ORIGIN.sub("the model's endpoint", message)
