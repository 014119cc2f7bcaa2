"""Tick files of the LEAN engine: one zip a day and ticker, described by its path.

A path is `<asset>/<market>/tick/<ticker>/<YYYYMMDD>_<trade|quote>.zip`; nothing in the
file says what it holds. The text has no header; its columns are:

| asset, type | columns |
|---|---|
| forex quote | ms, bid, ask |
| future trade | ms, price, size, venue, condition, suspicious |
| equity trade | ms, price x 10000, size, venue, condition, suspicious |
| equity quote | ms, bid x 10000, size, ask x 10000, size, venue, condition, suspicious |

*Symbols.* The ticker in capitals: `EURUSD`, `SPY`. A zip of futures has one member per
expiry, `..._YYYYMM.csv`, and each is a symbol of its own: the ticker, `_` and the
expiry, as `GC_201312`. The members are merged by event time.

*Times* are milliseconds since midnight of the date in the file's name: in New York for
US equities, in UTC for everything else, futures too. A `timezone` other than UTC
replaces that zone, as some brokers' files need.

*Flags*: 1 for a row that was marked suspicious, else 0. `venue` and `condition` ride along
as text. A side of a quote that is 0 is empty: `UNDEFINED` in price and size. There are no
trade ids and none are made up.
"""

from __future__ import annotations

__all__ = ("LeanReader",)

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError, nearest
from market_data_pipeline.kernels.status import LOCAL
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.source.cells import Text, cell_text, row_text, to_ints
from market_data_pipeline.source.chunks import ChunkReader, checked_file
from market_data_pipeline.source.columns import Plan
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.lean_layout import LeanPath, TickLayout
from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.source.zones import LocalTimes
from market_data_pipeline.symbols import SymbolTable

_BLOCK_BYTES: Final = 1 << 20
_MS_NS: Final = 1_000_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class _Ticks:
    """What the members of a zip have in common."""

    archive: zipfile.ZipFile
    path: Path
    layout: TickLayout
    midnight_ns: int
    zone: LocalTimes
    options: ReadOptions
    symbols: SymbolTable


class LeanReader:
    """Reads one zip of ticks; see the module for what its columns are.

    Args:
        path: The file.
        options: How to read; `columns` do not apply.
        symbols: The run's symbols.

    Raises:
        InputError: If the path is not one of LEAN's, or the file cannot be read.
    """

    def __init__(self, path: Path, options: ReadOptions, symbols: SymbolTable) -> None:
        said = _checked(path, options)
        layout = TickLayout.of(said, options.wanted, str(path))
        zone = LocalTimes(said.zone if options.timezone == "UTC" else options.timezone)
        midnight_ns = said.midnight_ns(str(path))
        self.schema = layout.schema
        self._archive = _open(path)
        ticks = _Ticks(self._archive, path, layout, midnight_ns, zone, options, symbols)
        parts = []
        known = []
        for info in _members(self._archive, said, str(path)):
            symbol = said.symbol(info.filename, str(path))
            known.append(symbol)
            if options.symbol in {None, symbol}:
                parts.append(Part(_place(path, info), partial(_Member, ticks, info, symbol)))
        if not parts:
            names = ", ".join(f"`{name}`" for name in known)
            hint = nearest(options.symbol or "", known)
            msg = f"there is no symbol `{options.symbol}`{hint} (symbols: {names})"
            raise InputError(msg, place=str(path))
        self._reader: FileReader = MergedReader(
            parts, self.schema, symbols, batch_rows=options.batch_rows
        )

    @property
    def rows_read(self) -> int:
        """Rows read so far, those rejected included."""
        return self._reader.rows_read

    def read(self) -> Batch | None:
        """Return the next rows, members merged by event time; None at the end."""
        return self._reader.read()

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        return self._reader.take_rejected()

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        return self._reader.fraction()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._archive.close()


class _Member(ChunkReader):
    """One member of a zip: the ticks of one symbol."""

    def __init__(self, ticks: _Ticks, info: zipfile.ZipInfo, symbol: str, batch_rows: int) -> None:
        place = _place(ticks.path, info)
        options = replace(ticks.options, batch_rows=batch_rows)
        super().__init__(place, options, ticks.symbols)
        layout = ticks.layout
        self.schema = layout.schema
        self._ticks = ticks
        sources = {name: name for name in layout.schema.names if name != "symbol"}
        plan = Plan(layout.text_schema, {**sources, "ts_event": "ms"}, symbol)
        self._converter = Converter(plan, options, ticks.symbols, self._rejects)
        slots = {name: slot for slot, name in enumerate(dict.fromkeys(plan.sources.values()))}
        self._slots = np.array([slots.get(name, -1) for name in layout.names], np.int64)
        self._names = tuple(slots)
        self._size = max(info.file_size, 1)
        self._unpacked = 0
        self._text = b""
        self._used = 0
        self._ended = False
        self._lines = 0
        with _damage(place):
            self._stream = ticks.archive.open(info)

    def _next_chunk(self) -> Batch | None:
        from market_data_pipeline.kernels.split_rows import split_rows

        capacity = self._chunk_rows
        starts = np.zeros((len(self._names), capacity), np.int32)
        ends = np.zeros((len(self._names), capacity), np.int32)
        counts = np.empty(capacity, np.int32)
        while True:
            data = np.frombuffer(self._text, np.uint8)
            found, self._used = split_rows(
                data, self._used, ord(","), self._slots, self._ended, starts, ends, counts
            )
            if found:
                break
            if self._ended:
                return None
            self._fill()
        columns = {
            name: Text(starts[slot, :found], ends[slot, :found], data)
            for slot, name in enumerate(self._names)
        }
        first = self._lines + 1
        self._lines += found
        return self._converted(columns, counts[:found], first)

    def _fill(self) -> None:
        with _damage(self._rejects.place):
            more = self._stream.read(_BLOCK_BYTES)
        self._ended = not more
        self._unpacked += len(more)
        self._text = self._text[self._used :] + more
        self._used = 0

    def _converted(
        self, columns: dict[str, Text], counts: npt.NDArray[np.int32], first: int
    ) -> Batch:
        times, is_time = self._times(columns["ms"])
        whole = counts == len(self._slots)
        taken = whole & is_time
        lines: int | npt.NDArray[np.int64] = first
        if not taken.all():
            for row in np.flatnonzero(~taken).tolist():
                if whole[row]:
                    reason = "malformed"
                    detail = f"`ms` is `{cell_text(columns['ms'], row)}`, which is no time of day"
                else:
                    reason = "fields"
                    detail = f"the row has {counts[row]} fields, not {len(self._slots)}"
                self._rejects.add(first + row, reason, detail, row_text(columns, row))
            lines = np.flatnonzero(taken) + first
            times = times[taken]
            columns = {
                name: Text(text.starts[taken], text.ends[taken], text.data)
                for name, text in columns.items()
            }
        stamped = {**columns, "ms": pa.array(times).cast(pa.timestamp("ns", "UTC"))}
        made = self._converter.convert(stamped, len(times), lines)
        return Batch(self.schema, _with_empty_sides(made), self._symbols)

    def _times(self, text: Text) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the event times, and which of them are there."""
        ms, status = to_ints(text)
        is_time = (ms >= 0) & (ms < _DAY_MS)
        if status is not None:
            is_time &= status == 0
        times = ms * _MS_NS + self._ticks.midnight_ns
        if not self._ticks.zone.is_utc:
            local = np.where(is_time, LOCAL, 0).astype(np.uint8)
            if self._ticks.zone.to_utc(times, local):
                is_time &= local == 0
        return times, is_time

    def fraction(self) -> float:
        return min(1.0, (self._unpacked - len(self._text) + self._used) / self._size)

    def close(self) -> None:
        self._stream.close()


def _checked(path: Path, options: ReadOptions) -> LeanPath:
    place = str(path)
    said = LeanPath.parse(path)
    if said is None:
        msg = (
            "the path is not one of LEAN's; expected "
            "`<asset>/<market>/tick/<ticker>/<YYYYMMDD>_<trade|quote>.zip`"
        )
        raise InputError(msg, place=place)
    if said.resolution != "tick":
        msg = f"this holds bars of resolution `{said.resolution}`; name the files under `tick`"
        raise InputError(msg, place=place)
    if options.kind is not None and options.kind != f"{said.tick_type}s":
        msg = f"this holds {said.tick_type}s, but `kind` is `{options.kind}`"
        raise InputError(msg, place=place)
    if options.columns:
        msg = "columns of LEAN files are known and have no names; leave `columns` out"
        raise InputError(msg, place=place)
    return said


def _open(path: Path) -> zipfile.ZipFile:
    checked_file(path)
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as err:
        msg = f"the zip file is damaged or cut short: {err}"
        raise InputError(msg, place=str(path)) from err
    except OSError as err:
        msg = f"the file cannot be read: {err.strerror or err}"
        raise InputError(msg, place=str(path)) from err


def _members(archive: zipfile.ZipFile, said: LeanPath, place: str) -> list[zipfile.ZipInfo]:
    members = [info for info in archive.infolist() if not info.is_dir()]
    if not members:
        msg = "the zip file has no members"
        raise InputError(msg, place=place)
    if len(members) > 1 and said.asset != "future":
        names = ", ".join(info.filename for info in members[:3])
        msg = f"a zip of {said.asset} ticks has one member, this has {len(members)}: {names}"
        raise InputError(msg, place=place)
    return members


def _place(path: Path, info: zipfile.ZipInfo) -> str:
    return f"{path}/{info.filename}"


def _with_empty_sides(batch: Batch) -> dict[str, npt.NDArray[np.int64]]:
    columns = dict(batch.columns)
    for side in ("bid", "ask"):
        price = columns.get(f"{side}_price")
        if price is None or not (price == 0).any():
            continue
        empty = price == 0
        columns[f"{side}_price"] = np.where(empty, UNDEFINED, price)
        if f"{side}_size" in columns:
            columns[f"{side}_size"] = np.where(empty, UNDEFINED, columns[f"{side}_size"])
    return columns


@contextmanager
def _damage(place: str) -> Iterator[None]:
    """Tell of damage that shows only while a member is read."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as err:
        msg = f"the file is damaged: {err}"
        raise InputError(msg, place=place) from err
    except OSError as err:
        msg = f"the file cannot be read: {err.strerror or err}"
        raise InputError(msg, place=place) from err
