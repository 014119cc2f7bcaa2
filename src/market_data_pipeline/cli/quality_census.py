"""How many rows of a file fail each check, and the first of them."""

from __future__ import annotations

__all__ = ("Census", "CheckSettings", "Example", "Finding", "NotChecked")

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.dedupe import Dedupe, DedupeOperator
from market_data_pipeline.operator.quality import Quality
from market_data_pipeline.operator.quality_checks import columns_needed
from market_data_pipeline.operator.quality_details import details_of
from market_data_pipeline.operator.skew import SkewEstimate, SkewMeter
from market_data_pipeline.records import Field, Flaw, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_PLACE: Final = Field("_place", Kind.INT)
_REMEMBER: Final = Flaw.OUT_OF_SEQUENCE | Flaw.STALE | Flaw.PRICE_BAND | Flaw.OUTLIER
_NO_KEY: Final = "no key was given with --key, and rows that are equal may be separate events"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """What rows are held against.

    Attributes:
        stale: For how long a quote may be repeated.
        band: How far a price may be from the last one inside, in percent.
        outlier: How far it may be from the median of the last ones, in deviations.
        key: Columns that name a row; none to look for no duplicates.
        within: For how long, in event time, copies of a row are looked for.
    """

    stale: str = "1min"
    band: float = 10.0
    outlier: float = 6.0
    key: tuple[str, ...] = ()
    within: str = "1d"

    def of(self, flaw: Flaw) -> str | dict[str, Any]:
        """Return the settings of one check of `quality`."""
        settings: Mapping[Flaw, dict[str, Any]] = {
            Flaw.STALE: {"after": self.stale},
            Flaw.PRICE_BAND: {"percent": self.band},
            Flaw.OUTLIER: {"threshold": self.outlier},
        }
        return {**settings[flaw], "do": "flag"} if flaw in settings else "flag"


@dataclass(frozen=True, slots=True)
class Example:
    """One row.

    Attributes:
        row: Its number among the rows taken from the file, from 1.
        time: Its event time.
        symbol: Its symbol.
        detail: What was found; None if there is nothing to add to the row itself.
    """

    row: int
    time: int
    symbol: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        rows: Rows that fail it.
        first: The first of them, None if there is none.
    """

    check: str
    rows: int
    first: Example | None


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A check that could not be made: its name, and why."""

    check: str
    why: str


class Census:
    """The checks of `quality` and, with a key, `dedupe`, over the rows of one file.

    Symbols are remembered to the end of the file.

    Args:
        schema: The columns.
        symbols: The table that the codes point into.
        settings: What rows are held against.

    Raises:
        ConfigError: If a setting cannot be.
        SchemaError: If a column of the key is missing.
    """

    def __init__(self, schema: Schema, symbols: SymbolTable, settings: CheckSettings) -> None:
        self._symbols = symbols
        self._checks, self._not_checked = _made(schema)
        chosen: dict[str, Any] = {
            str(flaw.name).lower(): settings.of(flaw) for flaw in self._checks
        }
        self._rows = Quality(**chosen).row_checks(symbols)
        # How many rows failed each set of checks.
        self._masks = np.zeros(2 * int(max(Flaw)), np.int64)
        self._first: dict[str, Example] = {}
        self._taken = 0
        self._duplicates: DedupeOperator | None = None
        self._context = NodeContext("check", symbols)
        self._highest = TIME_MIN
        if settings.key:
            dedupe = Dedupe(list(settings.key), ttl=settings.within)
            dedupe.output_schemas(schema)
            self._duplicates = dedupe.build(self._context)
        else:
            self._not_checked.append(NotChecked("duplicate", _NO_KEY))
        self._skew = SkewMeter() if "ts_recv" in schema else None

    @property
    def not_checked(self) -> list[NotChecked]:
        """The checks that could not be made."""
        return self._not_checked

    @property
    def skew(self) -> SkewEstimate | None:
        """What the two clocks say of each other; None if there is one clock only."""
        return None if self._skew is None else self._skew.estimate()

    def add(self, batch: Batch) -> None:
        """Take rows."""
        self._rows.check(batch)
        masks = self._rows.masks
        self._masks += np.bincount(masks, minlength=len(self._masks))
        seen = int(np.bitwise_or.reduce(masks))
        for flaw in self._checks:
            name = str(flaw.name).lower()
            if seen & int(flaw) and name not in self._first:
                place = int(np.flatnonzero(masks & int(flaw))[0])
                detail = self._detail(batch, place, flaw)
                self._first[name] = self._example(batch, place, self._taken + place, detail)
        if self._duplicates is not None:
            self._find_duplicates(batch, self._duplicates)
        if self._skew is not None:
            self._skew.add(batch.times, batch["ts_recv"])
        self._taken += len(batch)

    def findings(self) -> list[Finding]:
        """Return what each check found, in the order of checks."""
        found = [
            Finding(name, rows, self._first.get(name))
            for flaw in self._checks
            for name, rows in [(str(flaw.name).lower(), self._count(flaw))]
        ]
        if self._duplicates is not None:
            rows = self._context.account.reasons.get("duplicate", 0)
            found.append(Finding("duplicate", rows, self._first.get("duplicate")))
        return found

    def _count(self, flaw: Flaw) -> int:
        sets = np.arange(len(self._masks))
        return int(self._masks[(sets & int(flaw)) != 0].sum())

    def _detail(self, batch: Batch, place: int, flaw: Flaw) -> str | None:
        mask, rows = int(self._rows.masks[place]), np.array([place])
        # What a row was held against is known of the last check it fails.
        if flaw & _REMEMBER and mask.bit_length() != int(flaw).bit_length():
            return None
        text: str = details_of(batch.take(rows), np.array([int(flaw)]), self._rows.notes[rows])[
            0
        ].as_py()
        return text

    def _find_duplicates(self, batch: Batch, operator: DedupeOperator) -> None:
        places: npt.NDArray[np.int64] = np.arange(len(batch)) + self._taken
        highest = max(self._highest, int(batch.times.max()))
        batch = batch.with_columns([_PLACE], {"_place": places})
        batch = batch.with_progress(Progress(self._highest, 0, highest))
        self._highest = highest
        for port, copies in operator.process(batch):
            if port == "duplicate" and "duplicate" not in self._first:
                place = int(copies["_place"][0])
                self._first["duplicate"] = self._example(copies, 0, place, None)

    def _example(self, batch: Batch, place: int, number: int, detail: str | None) -> Example:
        symbol = self._symbols.name(int(batch["symbol"][place]))
        return Example(number + 1, int(batch.times[place]), symbol, detail)


def _made(schema: Schema) -> tuple[list[Flaw], list[NotChecked]]:
    """Return the checks that the columns allow, and the others."""
    made: list[Flaw] = []
    others: list[NotChecked] = []
    for flaw in Flaw:
        missing = [name for name in columns_needed(schema, flaw) if name not in schema]
        if missing:
            why = f"there is no column `{missing[0]}`"
            others.append(NotChecked(str(flaw.name).lower(), why))
        else:
            made.append(flaw)
    return made, others
