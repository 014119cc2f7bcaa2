"""Tick files of the LEAN engine: one zip a day and ticker, described by its path.

A path is `<asset>/<market>/tick/<ticker>/<YYYYMMDD>_<trade|quote>.zip`; nothing in the
file says what it holds. What is read, and how the columns of the text are called here:

| asset, type | text | becomes |
|---|---|---|
| forex quote | ms, bid, ask | `bid_price`, `ask_price` |
| future trade | ms, price, size, venue, condition, suspicious | `price`, `size`, ... |
| equity trade | ms, price x 10000, size, venue, condition, suspicious | `price`, `size`, ... |
| equity quote | ms, bid x 10000, size, ask x 10000, size, venue, condition, suspicious | ... |

*Symbols.* The ticker in capitals: `EURUSD`, `SPY`. A zip of futures has one member per
expiry, `..._YYYYMM.csv`, and each is a symbol of its own: the ticker, `_` and the
expiry, as `GC_201312`. The members are merged by event time.

*Times* are milliseconds since midnight of the date in the file's name: in New York for
US equities, in UTC for everything else. A `timezone` other than UTC replaces that zone.

*Flags*: 1 for a row that was marked suspicious, else 0. `venue` and `condition` ride along
as text. A side of a quote that is 0 is empty: `UNDEFINED` in price and size. There are no
trade ids and none are made up.
"""

from __future__ import annotations

__all__ = ("LeanPath", "LeanReader")

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.errors import InputError
from market_data_pipeline.kernels.status import LOCAL, OK
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.source.chunks import ChunkReader, checked_file
from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.source.text_rows import Parsed, TextColumn, TextRows
from market_data_pipeline.source.zones import LocalTimes
from market_data_pipeline.symbols import SymbolTable

_CHUNK_BYTES: Final = 1 << 20
_MS_NS: Final = 1_000_000
_NAME: Final = re.compile(r"(\d{8})_(trade|quote)\.zip")
_EXPIRY: Final = re.compile(r"_(\d{6,8})\.csv")
_RESOLUTIONS: Final = frozenset({"tick", "second", "minute", "hour", "daily"})
_ZONES: Final = {("equity", "usa"): "America/New_York"}

# A day that gains an hour has 25; times of day after that belong to another file.
_MS: Final = TextColumn("ms", 0, 0, 90_000_000 - 1)
_VENUE: Final = TextColumn("venue", None)
_CONDITION: Final = TextColumn("condition", None)
_FLAGS: Final = TextColumn("flags", 0, 0, 1)


def _price(name: str, scale: int) -> TextColumn:
    return TextColumn(name, scale)


def _size(name: str) -> TextColumn:
    return TextColumn(name, 9, 0)


_LAYOUTS: Final = {
    ("forex", "quote"): (_MS, TextColumn("bid_price", 9, 0), TextColumn("ask_price", 9, 0)),
    ("future", "trade"): (_MS, _price("price", 9), _size("size"), _VENUE, _CONDITION, _FLAGS),
    # Equity prices come times 10000, so five more places make nine.
    ("equity", "trade"): (_MS, _price("price", 5), _size("size"), _VENUE, _CONDITION, _FLAGS),
    ("equity", "quote"): (
        _MS,
        TextColumn("bid_price", 5, 0),
        _size("bid_size"),
        TextColumn("ask_price", 5, 0),
        _size("ask_size"),
        _VENUE,
        _CONDITION,
        _FLAGS,
    ),
}


@dataclass(frozen=True, slots=True)
class LeanPath:
    """What the path of a LEAN file says.

    Attributes:
        asset: Asset class: forex, future, equity, ...
        market: Where it is traded, or the broker.
        resolution: tick, second, minute.
        ticker: The instrument, as written in the path.
        date: YYYYMMDD.
        tick_type: trade or quote.
    """

    asset: str
    market: str
    resolution: str
    ticker: str
    date: str
    tick_type: str

    @classmethod
    def parse(cls, path: Path) -> LeanPath | None:
        """Return what a path says, or None if it is not one of LEAN's."""
        parts = [part.lower() for part in path.absolute().parts]
        found = _NAME.fullmatch(parts[-1])
        if found is None or len(parts) < 6 or parts[-3] not in _RESOLUTIONS:
            return None
        return cls(parts[-5], parts[-4], parts[-3], parts[-2], found[1], found[2])

    @property
    def zone(self) -> str:
        """The time zone of the times in the file."""
        return _ZONES.get((self.asset, self.market), "UTC")


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
        self._path = path
        said = _checked(path, options)
        columns = _LAYOUTS[said.asset, said.tick_type]
        self.schema = _schema(said.tick_type, columns, options.wanted)
        self._midnight_ns = _midnight_ns(said, str(path))
        self._zone = LocalTimes(said.zone if options.timezone == "UTC" else options.timezone)
        self._archive = _open(path)
        parts: list[Part] = []
        for info in _members(self._archive, said, str(path)):
            symbol = self._symbol(said, info.filename)
            if options.symbol in {None, symbol}:
                parts.append(self._part(info, symbol, columns, options, symbols))
        self._reader: FileReader = MergedReader(
            parts, self.schema, symbols, batch_rows=options.batch_rows
        )

    def _symbol(self, said: LeanPath, member: str) -> str:
        ticker = said.ticker.upper()
        if said.asset != "future":
            return ticker
        found = _EXPIRY.search(member)
        if found is None:
            msg = "a member of a zip of futures must end in its expiry, as `_201312.csv`"
            raise InputError(msg, place=f"{self._path}, {member}")
        return f"{ticker}_{found[1]}"

    def _part(
        self,
        info: zipfile.ZipInfo,
        symbol: str,
        columns: tuple[TextColumn, ...],
        options: ReadOptions,
        symbols: SymbolTable,
    ) -> Part:
        def opened(batch_rows: int) -> FileReader:
            return _Member(
                self._archive,
                info,
                place=f"{self._path}, {info.filename}",
                schema=self.schema,
                columns=columns,
                midnight_ns=self._midnight_ns,
                zone=self._zone,
                symbol=symbol,
                symbols=symbols,
                options=replace(options, batch_rows=batch_rows),
            )

        return Part(f"{self._path}, {info.filename}", opened)

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

    def __init__(
        self,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        *,
        place: str,
        schema: Schema,
        columns: tuple[TextColumn, ...],
        midnight_ns: int,
        zone: LocalTimes,
        symbol: str,
        symbols: SymbolTable,
        options: ReadOptions,
    ) -> None:
        super().__init__(place, options, symbols)
        self.schema = schema
        self._place = place
        self._midnight_ns = midnight_ns
        self._zone = zone
        self._code = symbols.code(symbol)
        self._size = max(info.file_size, 1)
        self._read_bytes = 0
        self._text = b""
        self._used = 0
        self._ended = False
        self._lines = 0
        self._rows = TextRows(columns, frozenset(schema.names))
        with _damage(place):
            self._stream: IO[bytes] = archive.open(info)

    def _next_chunk(self) -> Batch | None:
        parsed = self._parsed()
        if parsed is None:
            return None
        first = self._lines + 1
        self._lines += parsed.rows + len(parsed.bad)
        for row, reason, detail in parsed.bad:
            self._rejects.add(first + row, reason, detail)
        numbers = parsed.numbers
        _mark_empty_sides(numbers)
        times = numbers["ms"] * _MS_NS + self._midnight_ns
        found: dict[str, Column] = {
            **numbers,
            **parsed.texts,
            "ts_event": times,
            "symbol": np.full(parsed.rows, self._code, np.int32),
        }
        columns = {name: found[name] for name in self.schema.names}
        batch = Batch(self.schema, columns, self._symbols)
        return batch if self._zone.is_utc else self._to_utc(batch, parsed, first)

    def _to_utc(self, batch: Batch, parsed: Parsed, first: int) -> Batch:
        times = batch.times
        status = np.full(len(times), LOCAL, np.uint8)
        if not self._zone.to_utc(times, status):
            return batch
        taken = np.ones(parsed.rows + len(parsed.bad), np.bool_)
        taken[[row for row, _, _ in parsed.bad]] = False
        lines = np.flatnonzero(taken) + first
        for row in np.flatnonzero(status).tolist():
            ms = parsed.numbers["ms"][row]
            detail = f"`ms` is {ms}, a time of day that the clocks jump over"
            self._rejects.add(int(lines[row]), "nonexistent", detail)
        return batch.take(status == OK)

    def _parsed(self) -> Parsed | None:
        while True:
            if self._used < len(self._text):
                parsed = self._rows.parse(
                    self._text, self._used, final=self._ended, rows=self._chunk_rows
                )
                self._used += parsed.used
                if parsed.rows or parsed.bad:
                    return parsed
            if self._ended:
                return None
            with _damage(self._place):
                chunk = self._stream.read(_CHUNK_BYTES)
            self._ended = not chunk
            self._read_bytes += len(chunk)
            self._text = self._text[self._used :] + chunk
            self._used = 0

    def fraction(self) -> float:
        return min(1.0, (self._read_bytes - len(self._text) + self._used) / self._size)

    def close(self) -> None:
        self._stream.close()


def _midnight_ns(said: LeanPath, place: str) -> int:
    try:
        midnight = datetime.strptime(said.date, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as err:
        msg = f"`{said.date}` is not a date"
        raise InputError(msg, place=place) from err
    return int(midnight.timestamp()) * 1_000_000_000


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
        msg = f"holds bars of resolution `{said.resolution}`; give the files under `tick`"
        raise InputError(msg, place=place)
    if (said.asset, said.tick_type) not in _LAYOUTS:
        known = ", ".join(f"{asset} {kind}s" for asset, kind in _LAYOUTS)
        msg = f"{said.asset} {said.tick_type}s cannot be read; known are {known}"
        raise InputError(msg, place=place)
    if options.kind is not None and options.kind != f"{said.tick_type}s":
        msg = f"holds {said.tick_type}s, but `kind` is `{options.kind}`"
        raise InputError(msg, place=place)
    if options.columns:
        msg = "columns of LEAN files are known and have no names; leave `columns` out"
        raise InputError(msg, place=place)
    return said


def _schema(
    tick_type: str, columns: tuple[TextColumn, ...], wanted: frozenset[str] | None
) -> Schema:
    base = TRADE if tick_type == "trade" else QUOTE
    names = {"ts_event", "symbol", *(column.name for column in columns)}
    riders = [
        Field(column.name, Kind.ARROW, arrow=pa.string())
        for column in columns
        if column.scale is None
    ]
    schema = base.only(names).having(*riders)
    return schema if wanted is None else schema.only({"ts_event", *wanted})


def _mark_empty_sides(numbers: dict[str, npt.NDArray[np.int64]]) -> None:
    for side in ("bid", "ask"):
        price = numbers.get(f"{side}_price")
        if price is None:
            continue
        empty = price == 0
        if empty.any():
            price[empty] = UNDEFINED
            size = numbers.get(f"{side}_size")
            if size is not None:
                size[empty] = UNDEFINED


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(checked_file(path))
    except zipfile.BadZipFile as err:
        msg = f"the zip file is damaged or cut short: {err}"
        raise InputError(msg, place=str(path)) from err
    except OSError as err:
        if isinstance(err, InputError):
            raise
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


@contextmanager
def _damage(place: str) -> Iterator[None]:
    """Tell of damage that shows while a member is read."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as err:
        msg = f"the file is damaged: {err}"
        raise InputError(msg, place=place) from err
    except OSError as err:
        msg = f"the file cannot be read: {err.strerror or err}"
        raise InputError(msg, place=place) from err
