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


def prompt_digest(text: str) -> int:
    """A number of 63 bits that equal prompts share and others practically never do.

    Among a million prompts two different ones share it with a probability of about
    one in twenty million, among a hundred million with one in two thousand.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
