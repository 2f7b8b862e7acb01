"""What paid calls cost: an estimate before, a hard stop during, the sum after."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from nogps.acquire.database import Database
from nogps.base.errors import InputError


class OverBudget(InputError):
    """The next call would cost more than the budget has left."""


class Budget(Database):
    """A budget for paid calls, and the record of those made, in SQLite; it outlives the process.

    A call costs `usd_per_call` dollars; `free_a_month` are free in a calendar month (UTC).
    A call is on the disk before it is made, so that neither a killed run nor a power failure
    forgets one. What was asked for is kept as a digest. Processes and threads may share a record.
    """

    tables = """
    CREATE TABLE IF NOT EXISTS month (month TEXT PRIMARY KEY, calls INT, usd REAL);
    CREATE TABLE IF NOT EXISTS call (digest TEXT, usd REAL);
    CREATE INDEX IF NOT EXISTS by_digest ON call (digest);
    """
    remedy = "put back a copy of it; if it is removed, what was spent before is forgotten"

    def __init__(self, path: Path, budget_usd: float, usd_per_call: float, free_a_month: int = 0):
        self.budget_usd = budget_usd
        self.usd_per_call = usd_per_call
        self.free_a_month = free_a_month
        super().__init__(path)
        self._add_journal(path.with_suffix(".csv"))

    @property
    def calls(self) -> int:
        """The number of calls ever made, free ones included."""
        return self.rows("SELECT coalesce(sum(calls), 0) FROM month")[0][0]

    @property
    def spent_usd(self) -> float:
        """US dollars ever spent, by all runs."""
        return self.rows("SELECT total(usd) FROM month")[0][0]

    def charge(self, what: str) -> None:
        """Pay for a call, about to be made, for `what`; OverBudget where too little is left."""
        with self.transaction() as database:
            usd = self.usd_per_call if self._free_calls() <= 0 else 0.0
            if self.spent_usd + usd > self.budget_usd + 1e-9:
                told = ", which is too little for one call; set it to what you will spend at most"
                if self.calls:
                    told = f" and {self.spent_usd:.2f} of it are spent, on {self.calls:,} calls; "
                    told += "what is fetched is kept: raise it to go on"
                raise OverBudget(f"budget_usd is {self.budget_usd:g}{told}")
            _record(database, _this_month(), _digest(what), usd)

    def estimate(self, calls: int) -> float:
        """Dollars that so many more calls would cost now."""
        return max(0, calls - max(0, self._free_calls())) * self.usd_per_call

    def spent_on(self, asked: Iterable[str]) -> tuple[int, float]:
        """Calls ever made for these things, and what they cost in dollars."""
        digests = json.dumps([_digest(what) for what in asked])
        query = """SELECT count(*), total(usd) FROM call
                   WHERE digest IN (SELECT value FROM json_each(?))"""
        ((calls, usd),) = self.rows(query, [digests])
        return calls, round(usd, 6)

    def _free_calls(self) -> int:
        """Calls that are still free this month; negative where more were made."""
        made = self.rows("SELECT calls FROM month WHERE month = ?", [_this_month()])
        return self.free_a_month - (made[0][0] if made else 0)

    def _add_journal(self, journal: Path) -> None:
        """Add the calls of an earlier version's journal (CSV: month, digest, dollars), once.

        How many bytes of it are added is the file's user_version.
        """
        if not journal.exists():
            return
        with self.transaction() as database:
            ((known,),) = database.execute("PRAGMA user_version").fetchall()
            text = journal.read_bytes()
            for line in text[known:].decode(errors="replace").splitlines():
                month, _, rest = line.partition(",")
                digest, _, usd = rest.partition(",")
                try:
                    cost = float(usd)
                except ValueError:  # half a line, from a full disk: it was a call all the same
                    cost = self.usd_per_call
                if line:
                    _record(database, month, digest, cost)
            database.execute(f"PRAGMA user_version = {len(text)}")


def _record(database: sqlite3.Connection, month: str, digest: str, usd: float) -> None:
    database.execute("INSERT INTO call VALUES (?, ?)", [digest, usd])
    database.execute(
        """INSERT INTO month VALUES (?, 1, ?)
           ON CONFLICT (month) DO UPDATE SET calls = calls + 1, usd = usd + excluded.usd""",
        [month, usd],
    )


def _this_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def _digest(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:20]
