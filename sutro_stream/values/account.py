"""Names of accounts: who owns keys, jobs, datasets and Functions."""

from __future__ import annotations

import re

ACCOUNT_RULE = (
    "at most 64 lower-case letters, digits, hyphens, underscores and dots, the first "
    "and the last of them a letter or digit"
)
# Lower case, since accounts have folders and not every file system tells case apart.
_ACCOUNT = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def is_account_name(text: str) -> bool:
    """Whether `text` may name an account; if so, it is safe as a folder's name."""
    return _ACCOUNT.fullmatch(text) is not None
