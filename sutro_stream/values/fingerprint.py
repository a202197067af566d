"""Short digests of values, to tell whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits, equal for equal JSON values whatever their order.

    Raises:
        TypeError: The value is not made of JSON values.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
