"""What `mdp check` prints of a file: as text and as plain data."""

from __future__ import annotations

__all__ = ("CheckReport",)

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from market_data_pipeline.cli.output import (
    format_bytes,
    format_count,
    format_rows,
    format_span,
    format_table,
    format_time,
)
from market_data_pipeline.cli.profile_report import gaps_dict, gaps_text, order_text, rows_text

if TYPE_CHECKING:
    from market_data_pipeline.cli.file_profile import Profile, TimeProfile
    from market_data_pipeline.cli.quality_census import Census, Example, Finding
    from market_data_pipeline.operator.skew import SkewEstimate


class CheckReport:
    """What was found in a file.

    Args:
        place: The file.
        size: Its bytes.
        profile: How its rows run.
        census: What the checks found.
        together: How event time runs over all kinds of rows in the order of receipt, for
            a capture that holds several.

    Attributes:
        found: Names of the checks that found something.
    """

    def __init__(
        self,
        place: str,
        size: int,
        profile: Profile,
        census: Census,
        together: TimeProfile | None = None,
    ) -> None:
        self._place = place
        self._size = size
        self._profile = profile
        self._findings = census.findings()
        self._skew = census.skew
        self._together = together
        self._not_checked = {one.check: one.why for one in census.not_checked}
        self._taken = profile.whole.rows if profile.whole else 0
        self.found = [finding.check for finding in self._findings if finding.rows]
        gaps = profile.gaps
        if gaps is None:
            self._not_checked["gap"] = "there is no column of sequence numbers"
        elif gaps.count > self._taken // 2:
            # As of a book of which only the best prices are told.
            self._not_checked["gap"] = (
                f"`{profile.number_column}` skips at {format_count(gaps.count)} of "
                f"{format_rows(self._taken)}: it does not count them"
            )
        elif gaps.count:
            self.found.append("gap")
        if profile.rejected:
            self.found.append("unreadable")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        profile, skew = self._profile, self._skew
        return {
            "file": self._place,
            "bytes": self._size,
            "kind": profile.schema.name,
            "rows": profile.rows_read,
            "taken": self._taken,
            "found": self.found,
            "checks": [self._finding_dict(finding) for finding in self._findings],
            "not_checked": self._not_checked,
            "unreadable": dict(profile.rejected),
            "out_of_order": _order_dict(profile.whole),
            "out_of_order_together": _order_dict(self._together),
            "gaps": gaps_dict(profile),
            "clocks": None if skew is None else asdict(skew) | {"behind_ns": skew.behind_ns},
        }

    def _finding_dict(self, finding: Finding) -> dict[str, Any]:
        first = finding.first
        return {
            "check": finding.check,
            "rows": finding.rows,
            "share": finding.rows / self._taken if self._taken else 0.0,
            "first": asdict(first) | {"time": format_time(first.time)} if first else None,
        }

    def to_text(self) -> str:
        """Return it as a page of text."""
        profile = self._profile
        facts = [
            ("kind", f"{profile.schema.name}s, {format_bytes(self._size)}"),
            ("rows", rows_text(profile)),
        ]
        if profile.whole is not None:
            facts.append(("out of order", order_text(profile.whole)))
        if self._together is not None:
            kinds = "trades and quotes together, as received: "
            facts.append(("", kinds + order_text(self._together)))
        facts.append(("gaps", gaps_text(profile)))
        if self._skew is not None:
            facts.append(("clocks", _clocks_text(self._skew)))
        width = max(len(name) for name, _ in facts)
        lines = [self._place, *(f"  {name.ljust(width)}  {text}" for name, text in facts), ""]
        rows = [_finding_row(finding, self._taken) for finding in self._findings]
        lines += [format_table(("check", "rows", "share", "first"), rows, indent="  "), ""]
        whys: dict[str, list[str]] = {}
        for check, why in self._not_checked.items():
            whys.setdefault(why, []).append(check)
        if whys:
            notes = [f"  not checked: {', '.join(names)} ({why})" for why, names in whys.items()]
            lines += [*notes, ""]
        verdict = f"found: {', '.join(self.found)}" if self.found else "nothing found"
        return "\n".join([*lines, f"  {verdict}"]) + "\n"


def _order_dict(times: TimeProfile | None) -> dict[str, int] | None:
    if times is None:
        return None
    return {
        "of": times.rows,
        "rows": times.out_of_order,
        "worst_ns": times.worst_disorder_ns,
    }


def _finding_row(finding: Finding, taken: int) -> tuple[object, ...]:
    share = f"{100 * finding.rows / taken:.3g} %" if finding.rows else "-"
    return (finding.check, finding.rows, share, _example_text(finding.first))


def _example_text(first: Example | None) -> str:
    if first is None:
        return "-"
    detail = f": {first.detail}" if first.detail else ""
    return f"row {format_count(first.row)}, {first.symbol} {format_time(first.time)}{detail}"


def _clocks_text(skew: SkewEstimate) -> str:
    drift = f"drifting by {format_count(skew.drift_ppb)} ns a second"
    if not skew.behind_ns:
        least = format_span(skew.difference_ns)
        return f"rows are received {least} after they happened at least, {drift}"
    return (
        f"the receiving one is at least {format_span(skew.behind_ns)} behind, {drift}: "
        f"{format_count(skew.future_rows)} of {format_count(skew.rows)} rows were received "
        f"before they happened"
    )
