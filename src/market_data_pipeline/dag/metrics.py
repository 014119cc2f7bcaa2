"""The account of a node: where every row that went in has gone."""

from __future__ import annotations

__all__ = ("Account", "Ledger")

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from market_data_pipeline.errors import LedgerError


@dataclass(slots=True)
class Account:
    """Rows of one node.

    The law of conservation: `rows_in + created = rows_out + sum(reasons) + held`.

    Attributes:
        node: Name of the node.
        rows_in: Rows received. A source receives the rows it read.
        rows_out: Rows sent on the main outputs. A sink sends the rows it wrote.
        created: Rows sent that are none of the rows received, such as bars.
        held: Rows inside: in open windows, in a buffer.
        queued: Rows read ahead at a fan-in, not yet counted in `rows_in`.
        reasons: Rows that ended here, by reason: filtered, duplicate, late, rejected,
            dropped, aggregated.
        marks: Rows that went on but are worth knowing of, by what was found; no part of
            the law.
    """

    node: str
    rows_in: int = 0
    rows_out: int = 0
    created: int = 0
    held: int = 0
    queued: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, rows: int) -> None:
        """Count rows that end here under a reason; none if `rows` is 0."""
        if rows:
            self.reasons[reason] = self.reasons.get(reason, 0) + rows

    def mark(self, what: str, rows: int) -> None:
        """Count rows that go on although something was found; none if `rows` is 0."""
        if rows:
            self.marks[what] = self.marks.get(what, 0) + rows

    def mark_all(self, counts: Mapping[str, int]) -> None:
        """Count rows as `mark`, by what was found."""
        for what, rows in counts.items():
            self.mark(what, rows)

    @property
    def unaccounted(self) -> int:
        """Rows that are missing from the account; 0 in a sound run."""
        ended = self.rows_out + sum(self.reasons.values()) + self.held
        return self.rows_in + self.created - ended


@dataclass(frozen=True, slots=True)
class Ledger:
    """The accounts of all nodes of a run, in the order of the graph."""

    accounts: tuple[Account, ...]

    def __getitem__(self, node: str) -> Account:
        for account in self.accounts:
            if account.node == node:
                return account
        raise KeyError(node)

    def __str__(self) -> str:
        rows = self.to_dicts()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        shown = [
            c for c in columns if c in {"node", "in", "out"} or any(row.get(c) for row in rows)
        ]
        cells = [shown, *([_cell(row.get(c, 0)) for c in shown] for row in rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(shown))]
        lines = []
        for name, *numbers in cells:
            parts = [name.ljust(widths[0])]
            parts += [n.rjust(width) for n, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join(parts))
        return "\n".join(lines)

    def total(self, reason: str) -> int:
        """Return the rows that ended under a reason, over all nodes."""
        return sum(account.reasons.get(reason, 0) for account in self.accounts)

    @property
    def balanced(self) -> bool:
        """True if every row of every node is accounted for."""
        return not any(account.unaccounted for account in self.accounts)

    def check(self, *, may_hold: bool = False) -> None:
        """Do nothing if every row is accounted for and none is left inside, at the end.

        Args:
            may_hold: True if rows may be left inside, because a later run goes on with them.

        Raises:
            LedgerError: If rows are missing, too many or still held somewhere.
        """
        odd: Iterable[Account] = [a for a in self.accounts if a.unaccounted]
        if odd:
            where = ", ".join(f"`{a.node}` by {a.unaccounted}" for a in odd)
            msg = f"the ledger does not balance: {where}"
            raise LedgerError(msg)
        stuck = [a for a in self.accounts if a.held or a.queued]
        if stuck and not may_hold:
            where = ", ".join(f"`{a.node}` {a.held + a.queued}" for a in stuck)
            msg = f"rows are still held at the end: {where}"
            raise LedgerError(msg)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the accounts as plain data, one dictionary a node."""
        return [
            {
                "node": a.node,
                "in": a.rows_in,
                "out": a.rows_out,
                "created": a.created,
                "held": a.held,
                **a.reasons,
                **a.marks,
            }
            for a in self.accounts
        ]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
