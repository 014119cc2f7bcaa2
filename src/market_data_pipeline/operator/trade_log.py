"""The trades of bars that can still change, so that one can be cancelled or corrected."""

from __future__ import annotations

__all__ = ("Found", "TradeLog", "check_action")

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]
TradeId = int | str

_NUMBERS: Final = ("time", "price", "size", "missing", "updates")
_SAVED: Final = ("trade_id", "alive", *_NUMBERS)
_NONE: Final[Int64s] = np.empty(0, np.int64)
_NEVER: Final = np.empty(0, np.bool_)


def check_action(schema: Schema) -> None:
    """Refuse a column `action` that is neither a letter nor text.

    Raises:
        SchemaError: If it is something else.
    """
    field = schema["action"]
    if field.kind is not Kind.CHAR and field.arrow != pa.string():
        msg = f"`action` must be a letter, `N`, `C` or `R`, as a character or text, was {field}"
        raise SchemaError(msg)


@dataclass(slots=True)
class _Chunk:
    """Trades of one batch, in the order of arrival; cancelled ones are not alive.

    Rows that are not alive stay for the rows that are missing before them.
    """

    codes: npt.NDArray[np.int32]
    ids: npt.NDArray[Any]
    numbers: dict[str, Int64s]
    alive: npt.NDArray[np.bool_]
    last: int


@dataclass(frozen=True, slots=True)
class Found:
    """A trade in the log.

    Attributes:
        time: Its event time.
        place: Where the log has it.
    """

    time: int
    place: tuple[int, int]


class TradeLog:
    """Holds trades until their windows are final.

    State: 33 bytes for each trade and its identifier.

    Args:
        symbols: Names of the codes.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._chunks: list[_Chunk] = []
        self._has = (False, False)

    def bind(self, schema: Schema) -> None:
        """Say what columns the trades have; all workers of one operator are told the same."""
        self._has = ("missing" in schema, "updates" in schema)

    def add(self, batch: Batch, *, alive: bool = True) -> None:
        """Take trades that went into windows, or with `alive` false rows that are no trades."""
        columns = batch.columns
        ids = columns["trade_id"]
        numbers = {"time": np.ascontiguousarray(batch.times)}
        for name in ("price", "size"):
            numbers[name] = np.array(columns[name])  # a correction changes them
        for name, has in zip(("missing", "updates"), self._has, strict=True):
            numbers[name] = np.ascontiguousarray(columns[name]) if has else _NONE
        self._chunks.append(
            _Chunk(
                np.ascontiguousarray(columns["symbol"]),
                np.array(ids.to_pylist(), object) if isinstance(ids, pa.Array) else ids,
                numbers,
                np.full(len(batch), alive),
                int(batch.times.max()),
            )
        )

    def find(self, code: int, trade_id: TradeId) -> Found | None:
        """Return the trade that came last with an identifier, and was not cancelled."""
        for number in range(len(self._chunks) - 1, -1, -1):
            chunk = self._chunks[number]
            hits = np.flatnonzero((chunk.ids == trade_id) & (chunk.codes == code) & chunk.alive)
            if len(hits):
                row = int(hits[-1])
                return Found(int(chunk.numbers["time"][row]), (number, row))
        return None

    def cancel(self, found: Found) -> None:
        """Take a trade out."""
        number, row = found.place
        self._chunks[number].alive[row] = False

    def replace(self, found: Found, price: int, size: int) -> None:
        """Give a trade another price and size; its time stays."""
        number, row = found.place
        self._chunks[number].numbers["price"][row] = price
        self._chunks[number].numbers["size"][row] = size

    def holds(self, code: int, start: int, stop: int) -> bool:
        """Tell whether there ever was a row of a key in `[start, stop)`."""
        return any(map(len, self._rows(code, start, stop)))

    def _rows(self, code: int, start: int, stop: int) -> list[npt.NDArray[np.intp]]:
        return [
            np.flatnonzero(
                (chunk.codes == code)
                & (chunk.numbers["time"] >= start)
                & (chunk.numbers["time"] < stop)
            )
            for chunk in self._chunks
        ]

    def trades(self, code: int, start: int, stop: int) -> Iterator[Int64s]:
        """Return what is left of the trades of a key in `[start, stop)`, column by column.

        Yields:
            Times, prices, sizes, missing, updates: (k,) int64 each, or (0,). Missing are
            also the rows before those that are not alive.
        """
        rows = self._rows(code, start, stop)
        for name in _NUMBERS:
            parts = [
                chunk.numbers[name][chosen if name == "missing" else chosen[chunk.alive[chosen]]]
                for chunk, chosen in zip(self._chunks, rows, strict=True)
                if len(chunk.numbers[name])
            ]
            yield np.concatenate(parts) if parts else _NONE

    def forget(self, before: int) -> None:
        """Forget trades of windows that start before a time."""
        if self._chunks and self._chunks[0].last < before:
            self._chunks = [chunk for chunk in self._chunks if chunk.last >= before]

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Return the trades: symbol, identifier and numbers, a row each."""
        chunks = self._chunks
        rows = sum(len(chunk.codes) for chunk in chunks)
        names = self._symbols.names
        made: dict[str, npt.NDArray[Any]] = {
            "symbol": np.array([names[code] for c in chunks for code in c.codes], np.str_),
            "trade_id": np.array([i for c in chunks for i in c.ids.tolist()] or _NONE),
            "alive": np.concatenate([_NEVER, *(c.alive for c in chunks)]),
        }
        for name in _NUMBERS:
            parts = [c.numbers[name] for c in chunks if len(c.numbers[name])]
            made[name] = np.concatenate(parts) if parts else np.zeros(rows, np.int64)
        return made

    def restore(self, rows: dict[str, npt.NDArray[Any]], *, has: tuple[bool, bool]) -> None:
        """Take over trades.

        Args:
            rows: As `snapshot` gives them.
            has: Whether they have the columns `missing` and `updates`.
        """
        self._has = has
        self._chunks = []
        if not len(rows["time"]):
            return
        ids = rows["trade_id"]
        kept: dict[str, bool] = dict(zip(("missing", "updates"), has, strict=True))
        self._chunks.append(
            _Chunk(
                self._symbols.encode_texts(rows["symbol"]),
                ids.astype(object) if ids.dtype.kind == "U" else ids,
                {n: np.array(rows[n]) if kept.get(n, True) else _NONE for n in _NUMBERS},
                np.array(rows["alive"]),
                int(rows["time"].max()),
            )
        )

    def merged_into(self, windows: Snapshot) -> Snapshot:
        """Return a snapshot of windows with the trades as further rows of it."""
        trades = self.snapshot()
        slots, rows = len(windows.key_groups), len(trades["time"])
        codes = self._symbols.encode_texts(trades["symbol"])
        keyed: dict[str, npt.NDArray[Any]] = {}
        for name, array in windows.keyed.items():
            if name == "symbol":
                keyed[name] = np.concatenate([array, trades["symbol"]])
            else:
                empty = np.zeros((rows, *array.shape[1:]), array.dtype)
                keyed[name] = np.concatenate([array, empty])
        for name in _SAVED:
            of = trades[name].dtype
            keyed[f"log.{name}"] = np.concatenate([np.zeros(slots, of), trades[name]])
        keyed["log"] = np.arange(slots + rows) >= slots
        missing, updates = self._has
        scalars = {**windows.scalars, "log.missing": int(missing), "log.updates": int(updates)}
        groups = np.concatenate([windows.key_groups, self._symbols.key_groups(codes)])
        return Snapshot(groups, keyed, scalars)

    def taken_from(self, snapshot: Snapshot) -> Snapshot:
        """Take over the trades in a snapshot; return the rest of it."""
        if "log" not in snapshot.keyed:
            return snapshot
        mine = snapshot.keyed["log"]
        keyed = {**snapshot.keyed}
        keyed.setdefault("log.alive", mine)  # states of before had no other trades
        rows = {n: keyed[f"log.{n}"][mine] for n in _SAVED}
        rows["symbol"] = snapshot.keyed["symbol"][mine]
        has = (bool(snapshot.scalars["log.missing"]), bool(snapshot.scalars["log.updates"]))
        self.restore(rows, has=has)
        keyed = {n: a[~mine] for n, a in keyed.items() if not n.startswith("log")}
        return Snapshot(snapshot.key_groups[~mine], keyed, snapshot.scalars)
