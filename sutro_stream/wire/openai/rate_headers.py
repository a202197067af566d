"""Rate limits as endpoints tell them in the headers of their replies."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial

from sutro_stream.values.rate_hints import RateHint

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNIT_S = {
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_ITEM = re.compile(r";\s*([a-z]+)\s*=\s*(\d+(?:\.\d+)?)")

# A bare number above these is a moment (seconds or milliseconds since 1970).
_MOMENT_S = 1e9
# A longer number is none that anybody counted.
_LONGEST_NUMBER = 100
_MOMENT_MS = 1e12


@dataclass(frozen=True, slots=True)
class _Names:
    """Header names of one family."""

    limit_requests: str
    remaining_requests: str
    reset_requests: str
    limit_tokens: str
    remaining_tokens: str
    reset_tokens: str

    @classmethod
    def of(cls, form: str) -> _Names:
        """The names of a form such as `x-ratelimit-{part}-{unit}`."""
        return cls(
            *(
                form.format(part=part, unit=unit)
                for unit in ("requests", "tokens")
                for part in ("limit", "remaining", "reset")
            )
        )


_OPENAI = _Names.of("x-ratelimit-{part}-{unit}")
_ANTHROPIC = _Names.of("anthropic-ratelimit-{unit}-{part}")


# One endpoint's replies have the same names, in a few combinations.
@lru_cache(maxsize=64)
def tells_rate(names: frozenset[bytes]) -> bool:
    """Whether header names, in lower case, are such that `parse_rate_hint` reads.

    Most endpoints never send any: then this costs a fraction of a microsecond.
    """
    return not _MARKS.isdisjoint(names)


def parse_rate_hint(
    headers: Mapping[str, str], *, now_s: float | None = None
) -> RateHint | None:
    """The rate limits in a reply's headers, `None` when it says nothing of them.

    Understands the headers of OpenAI and its kin (`x-ratelimit-remaining-requests`),
    of Anthropic (`anthropic-ratelimit-requests-remaining`), the plain ones
    (`x-ratelimit-remaining`, `ratelimit-remaining`) and the draft standard
    (`ratelimit: "default";r=50;t=30`). What cannot be read counts as not said.

    Args:
        headers: Header fields by their names in lower case.
        now_s: Seconds since 1970, `None` for the clock's; some headers name a
            moment instead of a time.
    """
    for mark, read in _READERS:
        if mark in headers:
            return read(headers, now_s)
    return None


def _quotas(
    names: _Names, headers: Mapping[str, str], now_s: float | None
) -> RateHint | None:
    get = headers.get
    return _unless_empty(
        RateHint(
            limit_requests=_count(get(names.limit_requests)),
            remaining_requests=_count(get(names.remaining_requests)),
            reset_requests_s=_seconds(get(names.reset_requests), now_s),
            limit_tokens=_count(get(names.limit_tokens)),
            remaining_tokens=_count(get(names.remaining_tokens)),
            reset_tokens_s=_seconds(get(names.reset_tokens), now_s),
        )
    )


def _plain(
    prefix: str, headers: Mapping[str, str], now_s: float | None
) -> RateHint | None:
    return _unless_empty(
        RateHint(
            limit_requests=_count(headers.get(prefix + "limit")),
            remaining_requests=_count(headers.get(prefix + "remaining")),
            reset_requests_s=_seconds(headers.get(prefix + "reset"), now_s),
            refills=False,
        )
    )


def _standard(headers: Mapping[str, str], now_s: float | None) -> RateHint | None:
    left = dict(_ITEM.findall(headers["ratelimit"]))
    policy = dict(_ITEM.findall(headers.get("ratelimit-policy") or ""))
    return _unless_empty(
        RateHint(
            limit_requests=_count(policy.get("q")),
            remaining_requests=_count(left.get("r")),
            reset_requests_s=_seconds(left.get("t"), now_s),
            refills=False,
        )
    )


_READERS = (
    (_OPENAI.remaining_requests, partial(_quotas, _OPENAI)),
    (_OPENAI.remaining_tokens, partial(_quotas, _OPENAI)),
    (_ANTHROPIC.remaining_requests, partial(_quotas, _ANTHROPIC)),
    (_ANTHROPIC.remaining_tokens, partial(_quotas, _ANTHROPIC)),
    ("x-ratelimit-remaining", partial(_plain, "x-ratelimit-")),
    ("ratelimit-remaining", partial(_plain, "ratelimit-")),
    ("ratelimit", _standard),
)
_MARKS = frozenset(mark.encode() for mark, _ in _READERS)


def _unless_empty(hint: RateHint) -> RateHint | None:
    if hint.remaining_requests is None and hint.remaining_tokens is None:
        return None
    return hint


def _count(text: str | None) -> int | None:
    if not text or len(text) > _LONGEST_NUMBER:
        return None
    if text.isdecimal():
        return int(text)
    # The plain limit may carry policies behind it: `100, 100;w=60`.
    try:
        number = float(text.partition(",")[0].partition(";")[0])
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None


def _seconds(text: str | None, now_s: float | None) -> float | None:
    if not text:
        return None
    if text[-1] in "smhd":
        return _duration_s(text)
    try:
        number = float(text)
    except ValueError:
        return _until_s(text, now_s)
    if not math.isfinite(number) or number < 0:
        return None
    if number < _MOMENT_S:
        return number
    now_s = time.time() if now_s is None else now_s
    return max(0.0, (number / 1e3 if number > _MOMENT_MS else number) - now_s)


def _duration_s(text: str) -> float | None:
    seconds, read = 0.0, 0
    for number, unit in _DURATION.findall(text):
        seconds += float(number) * _UNIT_S[unit]
        read += len(number) + len(unit)
    return seconds if read == len(text) and math.isfinite(seconds) else None


def _until_s(text: str, now_s: float | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    now_s = time.time() if now_s is None else now_s
    return max(0.0, moment.timestamp() - now_s)
