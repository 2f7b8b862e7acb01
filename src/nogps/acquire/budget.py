"""What paid calls cost: an estimate before, a hard stop during, the sum after."""

import errno
import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nogps.base.errors import InputError


class OverBudget(InputError):
    """The next call would cost more than the budget has left."""


@dataclass(frozen=True)
class Price:
    """What calls cost: US dollars each, and how many are free in a calendar month (UTC)."""

    usd_per_call: float
    free_a_month: int = 0


class Budget:
    """A budget for paid calls, and the journal of those made; it outlives the process.

    A call is written to the journal before it is made, so that a killed run cannot forget one.
    The journal has a line a call: month, a digest of what was asked for, dollars.
    """

    def __init__(self, journal: Path, budget_usd: float, price: Price):
        self.budget_usd = budget_usd
        self.price = price
        self.calls: Counter[str] = Counter()  # by digest
        self.usd: Counter[str] = Counter()  # by digest
        self.spent_usd = 0.0
        self._month_calls: Counter[str] = Counter()
        self._read = 0  # bytes of the journal
        self._journal = journal
        journal.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._catch_up()

    def close(self) -> None:
        """Close the journal."""
        os.close(self._file)

    def charge(self, what: str) -> None:
        """Pay for a call, about to be made, that asks for `what`.

        Raises:
            OverBudget: it would cost more than what is left; nothing was paid.
        """
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._catch_up()  # another process may have paid, too
            self._pay(what)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _pay(self, what: str) -> None:
        month = f"{datetime.now(UTC):%Y-%m}"
        usd = self._next_price(month)
        if self.spent_usd + usd > self.budget_usd + 1e-9:
            if not self.calls:
                raise OverBudget(
                    f"budget_usd is {self.budget_usd:g}, which is too little for one call; set it "
                    "to what you will spend at most"
                )
            raise OverBudget(
                f"budget_usd is {self.budget_usd:g} and {self.spent_usd:.2f} of it are spent, on "
                f"{self.calls.total():,} calls; what is fetched is kept: raise it to go on"
            )
        line = f"{month},{_digest(what)},{usd:.6f}\n".encode()
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._journal))
        self._catch_up()

    def estimate(self, calls: int) -> float:
        """Dollars that so many more calls would cost now."""
        free = self.price.free_a_month - self._month_calls[f"{datetime.now(UTC):%Y-%m}"]
        return max(0, calls - max(0, free)) * self.price.usd_per_call

    def spent_on(self, asked: Iterable[str]) -> tuple[int, float]:
        """Calls ever made for these things, and what they cost in dollars."""
        digests = {_digest(what) for what in asked}
        calls = sum(self.calls[digest] for digest in digests)
        return calls, round(sum(self.usd[digest] for digest in digests), 6)

    def _next_price(self, month: str) -> float:
        free = self._month_calls[month] < self.price.free_a_month
        return 0.0 if free else self.price.usd_per_call

    def _catch_up(self) -> None:
        """Count what the journal holds more than when it was read last."""
        while more := os.pread(self._file, 1 << 20, self._read):
            lines, end, _ = more.rpartition(b"\n")
            if not end:  # the disk was full; what comes next begins a line of its own
                os.write(self._file, b"\n")
                continue
            self._read += len(lines) + 1
            for line in lines.decode(errors="replace").split("\n"):
                self._count(line)

    def _count(self, line: str) -> None:
        month, _, rest = line.partition(",")
        digest, _, usd = rest.partition(",")
        try:
            cost = float(usd)
        except ValueError:  # half a line, from a full disk: it was a call all the same
            cost = self.price.usd_per_call
        self._month_calls[month] += 1
        self.calls[digest] += 1
        self.usd[digest] += cost
        self.spent_usd += cost


def _digest(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:20]
