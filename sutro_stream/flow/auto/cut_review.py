"""Whether a cut of the rate helped, or is to be taken back.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import math
from enum import Enum, auto

# A cut so deep is reviewed; at a third of the rate, a limit lets three times the share
# of requests through, chance the same share.
_DEEP = 1 / 3
# So many requests at the lower rate make a share, with so many refusals among them. A
# limit that is kept to still refuses some: one in two seconds, or one in a hundred.
_LOW_REQUESTS = 12
_LOW_REFUSALS = 4
_USUAL_SHARE = 0.015
_USUAL_PER_S = 0.5
_MOST_USUAL_SHARE = 0.4
# Cuts that did not begin after a run are reviewed before it goes below this share of
# the rate; as long as so many requests were not in vain.
_FLOOR = 1 / 12
_NEXT_FLOOR = 1 / 40
_FLOOR_REQUESTS = 60
_FLOOR_REQUESTS_TOLD = 16
# A trial is a sequential test: it ends when chance or a limit is so many times as
# likely as the other (natural logarithms), for chance not before so many requests, as
# an endpoint may let a few through at once.
_SURE_OF_CHANCE = 4.0
_SURE_OF_LIMIT = -3.5
_TRIAL_REQUESTS = 16
# It goes up by so much at most: what is out before the first refusal comes is refused
# as well. Above a low rate, few are out.
_MOST_RISE = 6.0
_TRIAL_PER_S = 200.0
_LEAST_PASSING, _MOST_PASSING = 0.01, 0.97
# Refusals are that much later than their requests were sent, in their usual time.
_LATE = 3.0
_SETTLE_S = 0.1
# Nothing was refused for so long and so many requests: the bad spell may be over.
_QUIET_S = 0.5
_QUIET_REQUESTS = 8
# A trial that failed cost refusals; the next one waits, twice as long each time.
_FIRST_WAIT_S = 2.0
_FIRST_QUIET_WAIT_S = 5.0
_LONGEST_WAIT_S = 300.0
_MOST_FLOOR_WAIT_S = 8.0
# Refusals that chance explains are looked into again after so long.
_FIRST_TRUST_S = 60.0
_LONGEST_TRUST_S = 600.0
# The share of chance is counted anew in blocks of requests, and may be exceeded in one
# by three standard deviations and a few.
_BLOCK_REQUESTS = 200
_DEVIATIONS = 3.0
_SPARE_REFUSALS = 2.0
_LEAST_CHANCE = 0.02
_MOST_CHANCE = 0.98
# Some endpoints refuse now and then whatever the rate. A quota that is used up refuses
# more than one of the next.
_CALM_REQUESTS = 50
_TOGETHER_REQUESTS = 20
_TOLERATED = 0.015


class Verdict(Enum):
    """What a trial of the former rate has shown."""

    OPEN = auto()
    """Nothing yet."""
    TAKEN_BACK = auto()
    """As much gets through as did at the lower rate: the cut was in vain."""
    UPHELD = auto()
    """Less gets through: there is a limit."""


class CutReview:
    """Compares the share of refusals before and after a deep cut of the rate.

    A limit refuses what exceeds it, chance the same share at any rate. So when
    refusals go on at a third of the former rate, or have ended there, the former
    rate is tried with a few requests. If as large a share of them gets through, it
    is taken up again, and what is still refused counts as chance from then on.

    Attributes:
        chance: Share of requests that are refused whatever the rate; 0 to 1.
        before_per_s: The rate before the cuts under review, 0 without any.
        is_trying: Whether the former rate is being tried.
    """

    def __init__(self) -> None:
        """A review of nothing."""
        self.chance = 0.0
        self.before_per_s = 0.0
        self.is_trying = False
        self._is_proven = False
        self._floor, self._floor_until = _FLOOR, 0
        self._was_chance = False
        self._low_sequence: int | None = None
        self._low_refused = 0
        self._refused_s = 0.0
        self._refused_sequence = 0
        self._trial_sequence = 0
        self._trial_refused = 0
        self._passing = 0.0
        self._trial_ends_s = 0.0
        self._next_s = self._next_quiet_s = -math.inf
        self._wait_s, self._quiet_wait_s = _FIRST_WAIT_S, _FIRST_QUIET_WAIT_S
        self._trust_s, self._trusted_until_s = _FIRST_TRUST_S, 0.0
        self._block_sequence = self._block_refused = 0
        # Refusals since the mark that may have been by chance, and the last of them.
        self._mark = -1
        self._suspect = -math.inf
        self._suspects = 0

    # Cuts.

    def begin(
        self, before_per_s: float, sequence: int, *, is_run: bool, is_proven: bool
    ) -> None:
        """Review the cuts from here on, which began at a rate.

        Args:
            before_per_s: The rate.
            sequence: Number of the refused request.
            is_run: Whether many were let through before it.
            is_proven: Whether the rate was kept up for a while without refusals.
        """
        self.before_per_s = before_per_s
        self._is_proven = is_proven
        self._low_sequence, self._floor = None, _FLOOR
        is_run, self._was_chance = is_run and not self._was_chance, False
        self._floor_until = sequence if is_run else sequence + _FLOOR_REQUESTS

    def floor_per_s(self, sequence: int, *, is_told: bool = False) -> float:
        """The rate not to go below before the review has ended.

        Args:
            sequence: Number of the refused request.
            is_told: Whether the endpoint told how long to wait.
        """
        spared = _FLOOR_REQUESTS - _FLOOR_REQUESTS_TOLD if is_told else 0
        return self._floor * self.before_per_s * (sequence < self._floor_until - spared)

    def cut(self, rate_per_s: float, sequence: int, now_s: float) -> None:
        """Note a cut to a rate, which holds from a number of request on."""
        self._refused_s, self._refused_sequence = now_s, sequence
        if self._low_sequence is None and rate_per_s <= _DEEP * self.before_per_s:
            self._low_sequence, self._low_refused = sequence, 0

    def refused(self, sequence: int) -> None:
        """Note a refusal of a request by its number."""
        if self._low_sequence is not None and sequence >= self._low_sequence:
            self._low_refused += 1

    # Trials of the former rate.

    def is_in_vain(self, rate_per_s: float, sequence: int, now_s: float) -> bool:
        """Whether refusals go on at the lower rate, so that a trial is due."""
        if self._low_sequence is None or now_s < self._next_s:
            return False
        sent, refused = sequence - self._low_sequence + 1, self._low_refused
        usual = min(_USUAL_SHARE + _USUAL_PER_S / rate_per_s, _MOST_USUAL_SHARE) * sent
        is_share = sent >= _LOW_REQUESTS and refused >= max(_LOW_REFUSALS, usual)
        return is_share and refused < sent

    def is_over(self, sequence: int, now_s: float) -> bool:
        """Whether nothing is refused any more, so that a trial is due."""
        if self._low_sequence is None or not self._is_proven or self.is_trying:
            return False
        quiet_s, quiet = now_s - self._refused_s, sequence - self._refused_sequence
        is_quiet = quiet_s >= _QUIET_S and quiet >= _QUIET_REQUESTS
        return is_quiet and now_s >= self._next_quiet_s

    def try_former(
        self,
        sequence: int,
        now_s: float,
        *,
        rate_per_s: float,
        refusal_s: float,
        is_over: bool,
    ) -> float:
        """Begin a trial; the rate of its requests.

        Args:
            sequence: Number of the next request.
            now_s: The time now.
            rate_per_s: The rate now.
            refusal_s: How long a refusal usually takes.
            is_over: Whether it is because nothing is refused any more.
        """
        self._passing = _MOST_PASSING
        if is_over:
            self._next_quiet_s = now_s + self._quiet_wait_s
            self._quiet_wait_s = min(2 * self._quiet_wait_s, _LONGEST_WAIT_S)
        elif self._low_sequence is not None:
            low = sequence - self._low_sequence
            share = self._low_refused / low
            # A few requests tell it within a deviation only.
            passing = 1 - share - math.sqrt(share * (1 - share) / low)
            self._passing = min(max(passing, _LEAST_PASSING), _MOST_PASSING)
        self.is_trying = True
        self._trial_sequence, self._trial_refused = sequence, 0
        late_s = _LATE * refusal_s + _SETTLE_S
        per_s = min(self.before_per_s, max(_MOST_RISE * rate_per_s, _TRIAL_PER_S))
        self._trial_ends_s = now_s + _TRIAL_REQUESTS / per_s + late_s
        return per_s

    def verdict(self, sequence: int, now_s: float, *, refused: bool) -> Verdict:
        """What the trial shows, asked at a refusal or later.

        Args:
            sequence: Number of the refused request, or of the next one.
            now_s: The time now.
            refused: Whether a request of the trial was refused.
        """
        self._trial_refused += refused
        sent = sequence - self._trial_sequence + refused
        passed, passing = sent - self._trial_refused, self._passing
        under_a_limit = _DEEP * passing
        chance = passed * math.log(passing / under_a_limit)
        chance += self._trial_refused * math.log((1 - passing) / (1 - under_a_limit))
        if chance <= _SURE_OF_LIMIT:
            return self._end(sent, now_s, is_chance=False)
        is_told = refused or now_s >= self._trial_ends_s
        if is_told and sent >= _TRIAL_REQUESTS and chance >= _SURE_OF_CHANCE:
            return self._end(sent, now_s, is_chance=True)
        return Verdict.OPEN

    def _end(self, sent: int, now_s: float, *, is_chance: bool) -> Verdict:
        self.is_trying = False
        if not is_chance:
            self._next_s = now_s + self._wait_s
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
            self._low_sequence, self._floor = None, _NEXT_FLOOR
            again = self._wait_s <= _MOST_FLOOR_WAIT_S
            self._floor_until = self._trial_sequence + sent + again * _FLOOR_REQUESTS
            return Verdict.UPHELD
        share = self._trial_refused / sent
        self.chance = min(share, _MOST_CHANCE) if share >= _LEAST_CHANCE else 0.0
        self._wait_s = _FIRST_WAIT_S
        self._trusted_until_s = now_s + self._trust_s
        if self.chance:
            self._trust_s = min(2 * self._trust_s, _LONGEST_TRUST_S)
        self._block_sequence = self._trial_sequence + sent
        self._block_refused = 0
        self.before_per_s, self._low_sequence = 0.0, None
        return Verdict.TAKEN_BACK

    # Chance.

    def is_chance(self, sequence: int, now_s: float) -> bool:
        """Whether a refusal is one of those that come at any rate."""
        chance = self.chance
        if not chance:
            return False
        if now_s >= self._trusted_until_s:
            self.chance, self._was_chance = 0.0, True
            return False
        self._block_refused += 1
        sent, refused = sequence - self._block_sequence + 1, self._block_refused
        spread = math.sqrt(chance * (1 - chance) * max(sent, 0))
        if refused > chance * sent + _DEVIATIONS * spread + _SPARE_REFUSALS:
            self._block_sequence, self._block_refused = sequence + 1, 0
            return False
        if sent >= _BLOCK_REQUESTS:
            share = (chance + refused / sent) / 2
            self.chance = share if share >= _LEAST_CHANCE else 0.0
            self._block_sequence, self._block_refused = sequence + 1, 0
        return True

    def is_isolated(self, sequence: int, mark: int) -> bool:
        """Whether a refusal is one among many answers.

        Args:
            sequence: Number of the request.
            mark: Number of the request behind which the rate was cut.
        """
        if mark != self._mark:
            self._mark, self._suspect, self._suspects = mark, -math.inf, 0
        sent = sequence - mark
        if sent < _CALM_REQUESTS:
            return False
        suspect, self._suspect = self._suspect, sequence
        self._suspects += 1
        is_many = self._suspects > 1 + _TOLERATED * sent
        return not is_many and sequence - suspect > _TOGETHER_REQUESTS
