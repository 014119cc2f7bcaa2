"""Generated ticks: the input of every measurement.

A seed makes them; one file for each number of rows and of symbols, written once to
`benchmarks/data/` as Parquet and as NumPy arrays.

- Symbols `S0000`, `S0001`, ... are Zipf-distributed: the k-th has weight `1 / k`.
- `EVENT_RATE` rows fall into a second of event time, each into its own slice of the
  second at a random nanosecond, so no two deals have one event time.
- 1 % of the rows come late, up to 500 ms behind their place; no row is later, so a
  watermark 500 ms behind the highest event time loses nothing.
- 1 % of the rows are exact duplicates, by (symbol, trade_id), of a row up to 500 ms before.
- Prices walk at random, a cent up, down or not at all; sizes are whole, 1 to 999.
"""

from __future__ import annotations

__all__ = ("BOUND_NS", "EVENT_RATE", "SECOND_NS", "Ticks", "TickSet", "make", "symbol_names")

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20_240_102
START_NS = 1_704_205_800 * 1_000_000_000
SECOND_NS = 1_000_000_000
EVENT_RATE = 100_000
BOUND_NS = 500_000_000
LATE_SHARE = 0.01
DUPLICATE_SHARE = 0.01
CHUNK_ROWS = 1_000_000
ROW_GROUP_ROWS = 131_072
DATA = Path(__file__).parent / "data"

_COLUMNS = ("ts_event", "code", "price", "size", "trade_id")
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ticks:
    """Ticks as arrays, in the order of arrival.

    Attributes:
        ts_event: (n,) int64 nanoseconds.
        code: (n,) int32, place of the symbol in `symbol_names`.
        price: (n,) int64, fixed point at 1e-9.
        size: (n,) int64, fixed point at 1e-9.
        trade_id: (n,) int64, counts up from 1 in each symbol.
    """

    ts_event: Int64s
    code: npt.NDArray[np.int32]
    price: Int64s
    size: Int64s
    trade_id: Int64s

    def __len__(self) -> int:
        return len(self.ts_event)

    def arrow(self) -> pa.Table:
        """Return the columns as a table over the same memory; prices in cents, whole sizes."""
        return pa.table(
            {
                "ts_event": self.ts_event,
                "code": self.code,
                "price": self.price / 1e9,
                "size": self.size // SECOND_NS,
                "trade_id": self.trade_id,
            }
        )


@dataclass(frozen=True)
class TickSet:
    """Where the ticks of one size lie.

    Attributes:
        rows: How many.
        symbols: How many symbols they are spread over.
    """

    rows: int
    symbols: int

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return DATA / f"{self.rows}-rows-{self.symbols}-symbols"

    @property
    def parquet(self) -> Path:
        """The ticks as a Parquet file."""
        return self.folder / "ticks.parquet"

    def load(self) -> Ticks:
        """Return the ticks as arrays in memory of their own."""
        return Ticks(*(np.load(self.folder / f"{name}.npy") for name in _COLUMNS))


def symbol_names(count: int) -> list[str]:
    """Return the names of the symbols, by code."""
    return [f"S{code:04d}" for code in range(count)]


@numba.njit(cache=True)
def _walk(codes: Any, steps: Any, cents: Any, ids: Any, price: Any, trade_id: Any) -> None:
    for i in range(len(codes)):
        code = codes[i]
        cents[code] = max(cents[code] + steps[i], 100)
        ids[code] += 1
        price[i] = cents[code]
        trade_id[i] = ids[code]


def _deals(rows: int, symbols: int, rng: np.random.Generator) -> Any:
    """Yield chunks of (arrival, ts_event, code, cents, size, trade_id) in event order."""
    weights = 1 / np.arange(1, symbols + 1)
    edges = np.cumsum(weights / weights.sum())
    cents = rng.integers(1_000, 50_000, symbols)
    ids = np.zeros(symbols, np.int64)
    slice_ns = SECOND_NS // EVENT_RATE
    for first in range(0, rows, CHUNK_ROWS):
        count = min(CHUNK_ROWS, rows - first)
        places = np.arange(first, first + count, dtype=np.int64)
        times = START_NS + places * slice_ns + rng.integers(0, slice_ns, count)
        late = np.where(rng.random(count) < LATE_SHARE, rng.integers(0, BOUND_NS, count), 0)
        codes = np.minimum(np.searchsorted(edges, rng.random(count)), symbols - 1)
        codes = codes.astype(np.int32)
        price = np.empty(count, np.int64)
        trade_id = np.empty(count, np.int64)
        _walk(codes, rng.integers(-1, 2, count), cents, ids, price, trade_id)
        size = rng.integers(1, 1_000, count)
        yield (times + late, times, codes, price, size, trade_id)


def _arrivals(rows: int, symbols: int) -> Any:
    """Yield chunks of columns in the order of arrival, duplicates among them."""
    rng = np.random.default_rng(SEED)
    duplicates = round(rows * DUPLICATE_SHARE)
    waiting: Any = None
    left = duplicates
    for deals in _deals(rows - duplicates, symbols, rng):
        count = len(deals[0])
        again = min(left, round(count * DUPLICATE_SHARE / (1 - DUPLICATE_SHARE)) + 1)
        left -= again
        copied = np.sort(rng.choice(count, again, replace=False))
        copies = [column[copied] for column in deals]
        copies[0] = copies[1] + rng.integers(1, BOUND_NS, again)
        parts = [deals, copies] if waiting is None else [waiting, deals, copies]
        joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        joined = [column[order] for column in joined]
        # Rows that arrive after the last deal of this chunk go with the next one.
        ready = int(np.searchsorted(joined[0], deals[1][-1]))
        waiting = [column[ready:] for column in joined]
        yield [column[:ready] for column in joined[1:]]
    if waiting is not None:
        yield waiting[1:]


def make(ticks: TickSet) -> TickSet:
    """Write the files of a set unless they are there."""
    if (ticks.folder / "done").exists():
        return ticks
    ticks.folder.mkdir(parents=True, exist_ok=True)
    names = pa.array(symbol_names(ticks.symbols))
    arrays = {
        name: np.lib.format.open_memmap(
            ticks.folder / f"{name}.npy",
            mode="w+",
            dtype=np.int32 if name == "code" else np.int64,
            shape=(ticks.rows,),
        )
        for name in _COLUMNS
    }
    schema = pa.schema(
        {
            "ts_event": pa.timestamp("ns", "UTC"),
            "symbol": pa.dictionary(pa.int32(), pa.string()),
            "price": pa.float64(),
            "size": pa.int64(),
            "trade_id": pa.int64(),
        }
    )
    at = 0
    repeated = ["symbol", "price", "size"]
    with pq.ParquetWriter(
        ticks.parquet, schema, store_schema=False, use_dictionary=repeated
    ) as writer:
        for times, codes, cents, size, trade_id in _arrivals(ticks.rows, ticks.symbols):
            end = at + len(times)
            columns = (times, codes, cents * 10_000_000, size * SECOND_NS, trade_id)
            for name, column in zip(_COLUMNS, columns, strict=True):
                arrays[name][at:end] = column
            symbol = pa.DictionaryArray.from_arrays(pa.array(codes), names)
            rows = (
                pa.array(times).cast(schema.field("ts_event").type),
                symbol,
                pa.array(cents / 100),
                pa.array(size),
                pa.array(trade_id),
            )
            writer.write_table(pa.Table.from_arrays(list(rows), schema=schema), ROW_GROUP_ROWS)
            at = end
    if at != ticks.rows:
        msg = f"{at} ticks were made instead of {ticks.rows}"
        raise ValueError(msg)
    for array in arrays.values():
        array.flush()
    (ticks.folder / "done").touch()
    return ticks


if __name__ == "__main__":
    from benchmarks.answers import reference

    reference(make(TickSet(int(sys.argv[1]), int(sys.argv[2]))))
