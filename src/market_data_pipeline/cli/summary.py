"""What is printed when a run is over: where every row went, how fast, and how far."""

from __future__ import annotations

__all__ = ("format_checkpoints", "format_ledger", "format_rate")

from typing import TYPE_CHECKING

from market_data_pipeline.cli.output import format_count, format_rows, format_table

if TYPE_CHECKING:
    from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
    from market_data_pipeline.dag.metrics import Account, Ledger


def format_ledger(ledger: Ledger) -> str:
    """Return the accounts as a table, one row a node, and whether they balance."""
    reasons = list(dict.fromkeys(r for account in ledger.accounts for r in account.reasons))
    created = any(account.created for account in ledger.accounts)
    marks = list(dict.fromkeys(m for account in ledger.accounts for m in account.marks))
    held = any(account.held for account in ledger.accounts)
    header = ["node", "in", *(["created"] if created else []), "out", *reasons]
    header += [*(["held"] if held else []), *marks]

    def row(account: Account) -> list[object]:
        cells: list[object] = [account.node, account.rows_in]
        cells += [account.created] if created else []
        cells += [account.rows_out, *(account.reasons.get(reason, 0) for reason in reasons)]
        cells += [account.held] if held else []
        return cells + [account.marks.get(mark, 0) for mark in marks]

    table = format_table(header, [row(account) for account in ledger.accounts])
    return f"{table}\n{_verdict(ledger)}"


def format_checkpoints(figures: CheckpointFigures) -> str:
    """Return how far the checkpoints are, and which sinks do not have each row once."""
    last = figures.last_epoch or figures.resumed_from
    since = f", resumed from {figures.resumed_from}" if figures.resumed_from else ""
    twice = [f"`{sink}`" for sink, word in figures.delivery.items() if word == "at_least_once"]
    note = f"; at least once: {', '.join(twice)}" if twice else ""
    return f"checkpoint {last} of {figures.path}{since}{note}"


def _verdict(ledger: Ledger) -> str:
    odd = [account for account in ledger.accounts if account.unaccounted]
    if not odd:
        return "balanced: every row of every node is accounted for"
    where = ", ".join(f"`{a.node}` by {format_count(a.unaccounted)}" for a in odd)
    return f"NOT BALANCED: {where}"


def format_rate(rows: int, seconds: float) -> str:
    """Return rows, seconds and rows per second in one line."""
    rate = f", {format_count(rows / seconds)} rows/s" if seconds > 0 else ""
    return f"{format_rows(rows)} in {seconds:.2f} s{rate}"
