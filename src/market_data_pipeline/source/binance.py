"""Raw captures of Binance's websocket: lines of `LOCAL_NS JSON`, plain or compressed.

Several streams may share a capture. One kind of row is read: for trades the messages of
`trade` (or of `aggTrade`, whichever of the two comes first in the file, since they tell
the same trades twice), for quotes those of `bookTicker`. Messages of other streams, and
snapshots, are not read. Messages may stand alone or in `{"stream": ..., "data": ...}`.

| column | from |
|---|---|
| `ts_event` | `T`, else `E`; spot `bookTicker` has neither: the time of capture |
| `ts_recv` | `LOCAL_NS`, by the clock of the machine that captured |
| `symbol` | `s` |
| `price`, `size`, `trade_id` | `p`, `q`, and `t` (of `aggTrade`: `a`) |
| `side` | `m`: the buyer is the maker, so the aggressor sold (`A`), else bought (`B`) |
| `bid_price`, `bid_size`, `ask_price`, `ask_size` | `b`, `B`, `a`, `A` |
| `sequence` of a quote | `u`, the number of the book's update |

Numbers of book updates have gaps by nature: they count updates of the whole book.
"""

from __future__ import annotations

__all__ = ("BinanceReader",)

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError
from market_data_pipeline.records import QUOTE, TRADE, Schema
from market_data_pipeline.source.cells import Text
from market_data_pipeline.source.chunks import ChunkReader
from market_data_pipeline.source.columns import Plan
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.source.unpack import open_blocks
from market_data_pipeline.symbols import SymbolTable

_BLOCK_BYTES: Final = 4 << 20
_LINE_BYTES_MAX: Final = 64 << 20
_SIDES: Final = np.frombuffer(b"AB?", np.uint8)
_TRUE, _FALSE = ord("t"), ord("f")

_TRADES: Final = {
    "ts_event": "T",
    "ts_recv": "LOCAL_NS",
    "symbol": "s",
    "price": "p",
    "size": "q",
    "side": "m",
    "trade_id": "t",
}
_QUOTES: Final = {
    "ts_event": "T",
    "ts_recv": "LOCAL_NS",
    "symbol": "s",
    "bid_price": "b",
    "bid_size": "B",
    "ask_price": "a",
    "ask_size": "A",
    "sequence": "u",
}


class BinanceReader(ChunkReader):
    """Reads one capture; see the module for what is read and how.

    Args:
        path: The file.
        options: How to read; `kind` is trades unless it says quotes, `columns` and
            `timezone` do not apply.
        symbols: The run's symbols.

    Raises:
        InputError: If the file cannot be read.
    """

    def __init__(self, path: Path, options: ReadOptions, symbols: SymbolTable) -> None:
        from market_data_pipeline.kernels.capture_lines import QUOTES, UNDECIDED

        super().__init__(str(path), options, symbols)
        if options.columns:
            msg = "fields of Binance's messages are known; leave `columns` out"
            raise InputError(msg, place=str(path))
        is_quotes = options.kind == "quotes"
        sources = _QUOTES if is_quotes else _TRADES
        plan = _plan(QUOTE if is_quotes else TRADE, sources, options)
        self.schema = plan.schema
        self._converter = Converter(plan, options, symbols, self._rejects)
        self._stream = QUOTES if is_quotes else UNDECIDED
        self._names = (*dict.fromkeys((*sources.values(), "E")),)
        self._names = ("LOCAL_NS", *(name for name in self._names if name != "LOCAL_NS"))
        letters = "".join(self._names[1:])
        self._keys = np.frombuffer(letters.encode(), np.uint8)
        self._aggregated_keys = np.frombuffer(letters.replace("t", "a").encode(), np.uint8)
        self._blocks = open_blocks(path)[0]
        self._data = b""
        self._position = 0
        self._at_end = False
        self._lines = 0
        self._taken = False

    def _next_chunk(self) -> Batch | None:
        from market_data_pipeline.kernels.capture_lines import capture_lines

        capacity = self._chunk_rows
        starts = np.empty((len(self._names), capacity), np.int32)
        ends = np.empty((len(self._names), capacity), np.int32)
        lines = np.empty(capacity, np.int64)
        while True:
            data = np.frombuffer(self._data, np.uint8)
            found, passed, self._position, self._stream = capture_lines(
                data,
                self._position,
                self._at_end,
                self._stream,
                self._keys,
                self._aggregated_keys,
                starts,
                ends,
                lines,
            )
            first = self._lines + 1
            self._lines += passed
            if found:
                return self._batch(data, starts[:, :found], ends[:, :found], lines[:found] + first)
            if self._at_end:
                return None
            self._fill()

    def _fill(self) -> None:
        left = self._data[self._position :]
        if len(left) > _LINE_BYTES_MAX:
            msg = f"line {self._lines + 1} does not end; is this a capture?"
            raise InputError(msg, place=self._rejects.place)
        more = self._blocks.read(_BLOCK_BYTES)
        self._at_end = not more
        self._data = left + more
        self._position = 0

    def _batch(
        self,
        data: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int32],
        ends: npt.NDArray[np.int32],
        lines: npt.NDArray[np.int64],
    ) -> Batch:
        bad = ends[0] == 0
        if bad.all() and not self._taken:
            msg = "no line is a time and a message; is this a capture?"
            raise InputError(msg, place=self._rejects.place)
        self._taken = True
        if bad.any():
            for line in lines[bad].tolist():
                detail = "the line is no time and message, or cut short"
                self._rejects.add(line, "malformed", detail)
            starts = np.ascontiguousarray(starts[:, ~bad])
            ends = np.ascontiguousarray(ends[:, ~bad])
            lines = lines[~bad]
        texts = {name: Text(starts[i], ends[i], data) for i, name in enumerate(self._names)}
        texts["T"] = _first_there(texts["T"], texts["E"], texts["LOCAL_NS"])
        if "m" in texts:
            texts["m"] = _sides(texts["m"])
        return self._converter.convert(texts, len(lines), lines)

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        return self._blocks.fraction()

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()


def _plan(base: Schema, sources: dict[str, str], options: ReadOptions) -> Plan:
    wanted = set(sources)
    if options.wanted is not None:
        wanted &= options.wanted | {"ts_event"}
    schema = base.only(wanted)
    read = {name: source for name, source in sources.items() if name in wanted}
    return Plan(schema, {**read, "symbol": "s"}, "")


def _first_there(*texts: Text) -> Text:
    starts, ends = texts[0].starts, texts[0].ends
    for text in texts[1:]:
        there = ends > 0
        if there.all():
            break
        starts = np.where(there, starts, text.starts)
        ends = np.where(there, ends, text.ends)
    return Text(starts, ends, texts[0].data)


def _sides(text: Text) -> Text:
    """Return `A`, `B` or, for what is neither true nor false, a word that is no side."""
    first = text.data[text.starts]
    starts = np.where(first == _TRUE, 0, np.where(first == _FALSE, 1, 2)).astype(np.int32)
    return Text(starts, starts + np.int32(1), _SIDES)
