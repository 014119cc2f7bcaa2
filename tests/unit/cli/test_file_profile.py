"""What `mdp inspect` finds, against files whose defects are known."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.cli import sequence_check
from market_data_pipeline.cli.file_profile import Profile, profile_of
from market_data_pipeline.cli.profile_report import profile_dict, profile_text
from market_data_pipeline.records import REJECTED, TRADE, UNDEFINED, Schema
from market_data_pipeline.symbols import SymbolTable
from support.examples import fewer

Row = tuple[int, str, int, int]


class ListReader:
    """A file of (time, symbol, trade id, sequence), read in batches of some size."""

    def __init__(
        self, rows: list[Row], symbols: SymbolTable, *, batch_rows: int = 2, schema: Schema
    ) -> None:
        self.schema = schema
        self.rows_read = 0
        self._rows = rows
        self._symbols = symbols
        self._batch_rows = batch_rows
        self._rejected = False

    def read(self) -> Batch | None:
        """Return the next rows."""
        rows = self._rows[self.rows_read : self.rows_read + self._batch_rows]
        if not rows:
            return None
        self.rows_read += len(rows)
        times, names, ids, sequences = zip(*rows, strict=True)
        columns = {
            "ts_event": np.array(times, np.int64),
            "symbol": self._symbols.encode(names),
            "trade_id": np.array(ids, np.int64),
            "sequence": np.array(sequences, np.int64),
        }
        chosen = {name: columns[name] for name in self.schema.names}
        return Batch(self.schema, chosen, self._symbols)

    def take_rejected(self) -> Batch | None:
        """Return one rejected row, once."""
        if self._rejected:
            return None
        self._rejected = True
        columns = {
            "place": pa.array(["list"]),
            "row": np.array([7], np.int64),
            "reason": pa.array(["price"]),
            "detail": pa.array(["`price` was `x`"]),
        }
        return Batch(REJECTED, columns, self._symbols)

    def fraction(self) -> float:
        """Return how much is read."""
        return 0.0

    def close(self) -> None:
        """Do nothing."""


def _profile(rows: list[Row], *, batch_rows: int = 2, without: tuple[str, ...] = ()) -> Profile:
    symbols = SymbolTable()
    names = {"ts_event", "symbol", "trade_id", "sequence"} - set(without)
    reader = ListReader(rows, symbols, batch_rows=batch_rows, schema=TRADE.only(names))
    return profile_of(reader, symbols)


def test_disorder_and_silence_are_measured_against_the_highest_time() -> None:
    """A row below the highest time before it is out of order; a jump past it is silence."""
    rows = [(10, "A", 1, 1), (50, "A", 2, 2), (20, "B", 1, 3), (45, "A", 3, 4), (60, "B", 2, 5)]
    profile = _profile(rows)
    assert profile.whole is not None
    assert (profile.whole.out_of_order, profile.whole.worst_disorder_ns) == (2, 30)
    assert (profile.whole.silence_ns, profile.whole.silence_start) == (40, 10)
    assert profile.symbols["A"].out_of_order == 1
    assert profile.symbols["B"].out_of_order == 0
    assert (profile.symbols["B"].first, profile.symbols["B"].last) == (20, 60)


def test_feed_wide_numbers_are_read_as_such() -> None:
    """Numbers that run over all symbols have gaps per symbol that are none."""
    rows = [(i, "AB"[i % 2], i, i) for i in range(10)] + [(20, "A", 20, 13)]
    gaps = _profile(rows).gaps
    assert gaps is not None
    assert (gaps.per_symbol, gaps.count, gaps.missing) == (False, 1, 3)
    assert (gaps.largest[0].first, gaps.largest[0].last) == (10, 12)
    assert (gaps.largest[0].after, gaps.largest[0].before) == (9, 20)


def test_numbers_per_symbol_name_the_symbol() -> None:
    """Numbers that start anew for each symbol are gaps of that symbol."""
    rows = [(1, "A", 1, 1), (2, "B", 1, 1), (3, "A", 2, 4), (4, "B", 2, 2)]
    gaps = _profile(rows).gaps
    assert gaps is not None
    assert (gaps.per_symbol, gaps.missing, gaps.largest[0].symbol) == (True, 2, "A")


def test_row_that_comes_late_fills_its_gap() -> None:
    """A gap is a number that never comes, not one that comes out of order."""
    gaps = _profile([(1, "A", 1, 1), (3, "A", 3, 3), (2, "A", 2, 2)]).gaps
    assert gaps is not None
    assert gaps.count == 0


def test_duplicates_are_rows_with_symbol_and_id_seen_before() -> None:
    """One id may be used by two symbols; unknown ids are no duplicates of each other."""
    rows = [(1, "A", 5, 1), (2, "B", 5, 2), (3, "A", 5, 3), (4, "A", 5, 4)]
    assert _profile(rows).duplicates == 2
    unknown = [(1, "A", UNDEFINED, 1), (2, "A", UNDEFINED, 2)]
    assert _profile(unknown).duplicates == 0


def test_without_identifiers_it_says_why_duplicates_are_unknown() -> None:
    """Equal rows may be separate trades, so content is no key."""
    profile = _profile([(1, "A", 1, 1)], without=("trade_id", "sequence"))
    assert (profile.duplicates, profile.gaps) == (None, None)
    text = profile_text("list", 10, profile, limit=5)
    assert "not looked for: there is no column `trade_id` or `sequence`" in text


def test_report_tells_the_bound_that_covers_the_disorder() -> None:
    """The reader learns which `--out-of-order` to use, and what was rejected."""
    rows = [(2_000_000_000, "A", 1, 1), (500_000_000, "A", 2, 2)]
    text = profile_text("list", 10, _profile(rows), limit=5)
    assert "`--out-of-order 1.5s` makes none of them late" in text
    assert "1 rejected (1 price)" in text
    data = profile_dict("list", 10, _profile(rows), limit=5)
    assert data["worst_disorder_ns"] == 1_500_000_000
    assert data["rejected"] == {"price": 1}


def test_empty_file_has_no_times() -> None:
    """No rows, no first and last."""
    profile = _profile([])
    assert (profile.whole, profile.symbols, profile.duplicates) == (None, {}, 0)
    assert "first " not in profile_text("list", 0, profile, limit=5)


def test_gap_and_duplicate_across_parts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts the numbers are asked in, the answer is the same."""
    rows = [(i, "AB"[i % 2], i // 2, i + 100 * (i >= 30)) for i in range(60)] + [(99, "A", 0, 160)]
    whole = _profile(rows)
    monkeypatch.setattr(sequence_check, "_PART_ROWS", 7)
    parts = _profile(rows)
    assert whole.gaps is not None
    assert (whole.gaps.count, whole.gaps.missing, whole.duplicates) == (1, 100, 1)
    assert (parts.gaps, parts.duplicates) == (whole.gaps, whole.duplicates)


ROWS = st.lists(
    st.tuples(st.integers(-50, 50), st.sampled_from("ABC"), st.integers(0, 9), st.integers(0, 30)),
    min_size=1,
    max_size=30,
)


@fewer(7)
@given(ROWS, st.integers(1, 7))
def test_profile_equals_counting_by_hand(rows: list[Row], batch_rows: int) -> None:
    """Whatever the rows and however they are cut."""
    profile = _profile(rows, batch_rows=batch_rows)
    by_symbol: dict[str, list[int]] = defaultdict(list)
    for time, symbol, _, _ in rows:
        by_symbol[symbol].append(time)
    assert profile.whole is not None
    for times, found in [
        ([time for time, *_ in rows], profile.whole),
        *((times, profile.symbols[symbol]) for symbol, times in by_symbol.items()),
    ]:
        highest = [max(times[: i + 1]) for i in range(len(times))]
        behind = [h - t for h, t in zip(highest, times, strict=True)]
        jumps = [b - a for a, b in pairwise(highest)]
        assert (found.rows, found.first, found.last) == (len(times), min(times), max(times))
        assert (found.out_of_order, found.worst_disorder_ns) == (
            sum(b > 0 for b in behind),
            max(behind),
        )
        assert found.silence_ns == max(jumps, default=0)
    assert profile.duplicates == len(rows) - len({(s, i) for _, s, i, _ in rows})
    everywhere = {n for *_, n in rows}
    each = {s: {n for _, t, _, n in rows if t == s} for s in by_symbol}
    missing = [max(ns) - min(ns) + 1 - len(ns) for ns in (everywhere, *each.values())]
    users = [sum(n in ns for ns in each.values()) for n in everywhere]
    shared = 100 * sum(count > 1 for count in users) > len(users)
    assert profile.gaps is not None
    assert profile.gaps.missing == (
        sum(missing[1:]) if shared else min(missing[0], sum(missing[1:]))
    )
