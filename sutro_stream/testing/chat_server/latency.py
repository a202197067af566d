"""How long answers take: distributions, drawn without hidden state."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from sutro_stream.errors import ConfigurationError

_STANDARD = NormalDist()
_P99 = _STANDARD.inv_cdf(0.99)


class Distribution(Protocol):
    """A distribution of latencies, given by its quantiles."""

    def quantile_s(self, share: float) -> float:
        """The latency, in seconds, that this share (above 0, below 1) stays under."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Every answer takes as long.

    Attributes:
        seconds: The latency.
    """

    seconds: float

    def quantile_s(self, share: float) -> float:  # noqa: ARG002 - same for each share
        """See `Distribution`."""
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Any latency between two bounds, all as likely.

    Attributes:
        low_s: Shortest latency, in seconds.
        high_s: Longest latency, in seconds.
    """

    low_s: float
    high_s: float

    def quantile_s(self, share: float) -> float:
        """See `Distribution`."""
        return self.low_s + share * (self.high_s - self.low_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """Most answers near the median, a few much slower: as model endpoints do.

    Attributes:
        median_s: Half of the answers are faster, in seconds; above 0.
        p99_s: 99 of 100 answers are faster, in seconds; at least `median_s`.
        cap_s: No answer is slower, in seconds; `None` for no limit.
    """

    median_s: float
    p99_s: float
    cap_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that no such distribution has."""
        if not 0 < self.median_s <= self.p99_s:
            message = "LogNormal needs 0 < median_s <= p99_s"
            raise ConfigurationError(message)

    def quantile_s(self, share: float) -> float:
        """See `Distribution`."""
        sigma = math.log(self.p99_s / self.median_s) / _P99
        drawn_s = self.median_s * math.exp(sigma * _STANDARD.inv_cdf(share))
        return drawn_s if self.cap_s is None else min(drawn_s, self.cap_s)


def drawn_share(key: str, *, seed: int) -> float:
    """A number above 0 and below 1 that depends on key and seed alone."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "replace"), digest_size=6)
    return (int.from_bytes(digest.digest()) + 0.5) / 2**48
