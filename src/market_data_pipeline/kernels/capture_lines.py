"""Lines of a raw websocket capture to the places of the fields of their messages."""

from __future__ import annotations

__all__ = ("AGGREGATED", "QUOTES", "SINGLE", "UNDECIDED", "capture_lines")

from typing import Final

import numpy as np
from numba import boolean, int32, int64
from numba.core.types import Array, UniTuple

from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    INTS_OUT,
    Bytes,
    Int32s,
    Int64s,
)

UNDECIDED: Final = 0
"""Take trades of whichever of the two streams comes first."""
SINGLE: Final = 1
"""Take the stream of single trades."""
AGGREGATED: Final = 2
"""Take the stream of aggregated trades."""
QUOTES: Final = 3
"""Take the stream of best bids and asks."""

_PLACES = Array(int32, 2, "C")

_STREAM = np.frombuffer(b"stream", np.uint8)
_DATA = np.frombuffer(b"data", np.uint8)
_EVENT = np.frombuffer(b"e", np.uint8)
_UPDATE = np.frombuffer(b"u", np.uint8)
_TRADE = np.frombuffer(b"trade", np.uint8)
_AGG_TRADE = np.frombuffer(b"aggTrade", np.uint8)
_BOOK_TICKER = np.frombuffer(b"bookTicker", np.uint8)


@inlined
def _same(data, start, end, word):  # type: ignore[no-untyped-def]
    if end - start != word.shape[0]:
        return False
    at = 0
    while at < word.shape[0] and data[start + at] == word[at]:
        at += 1
    return at == word.shape[0]


@inlined
def _string_end(data, at, end):  # type: ignore[no-untyped-def]
    # Where the closing quote is, or -1. No field that is read has escapes.
    while at < end:
        if data[at] == ord('"'):
            return at
        if data[at] == ord("\\"):
            return -1
        at += 1
    return -1


@kernel(
    UniTuple(int64, 4)(
        BYTES_IN, int64, boolean, int64, BYTES_IN, BYTES_IN, _PLACES, _PLACES, INTS_OUT
    )
)
def capture_lines(
    data: Bytes,
    position: int,
    at_end: bool,  # noqa: FBT001
    stream: int,
    keys: Bytes,
    aggregated_keys: Bytes,
    starts: Int32s,
    ends: Int32s,
    lines: Int64s,
) -> tuple[int, int, int, int]:
    """Find the fields of the messages of one stream; messages of others are passed over.

    A line is a time, a space and a JSON object: a message, or `stream` and, as `data`, a
    message. The wanted messages are flat objects. A line that is none of this has all
    its places at 0.

    Args:
        data: (bytes,) uint8.
        position: Where to start in `data`.
        at_end: Whether the input ends with `data`, so that its last line needs no end.
        stream: Which messages to take.
        keys: (k,) uint8, the one-letter names of the fields.
        aggregated_keys: (k,) uint8, the same for aggregated trades.
        starts: (k + 1, capacity) int32, written: where the time and the fields start;
            a field that is not there starts and ends at 0.
        ends: (k + 1, capacity) int32, written: where they end.
        lines: (capacity,) int64, written: number of each line taken, from 0.

    Returns:
        The number of messages found, lines passed, where the first byte not used lies,
        and the stream that is taken from now on.
    """
    size = data.shape[0]
    capacity = lines.shape[0]
    slots = keys.shape[0]
    found = 0
    line = 0
    while found < capacity and position < size:
        end = position
        while end < size and data[end] != ord("\n"):
            end += 1
        if end == size and not at_end:
            break
        following = end + 1
        if end > position and data[end - 1] == ord("\r"):
            end -= 1
        k = position
        position = following
        if k == end:
            line += 1
            continue
        for slot in range(slots + 1):
            starts[slot, found] = 0
            ends[slot, found] = 0
        lines[found] = line
        line += 1
        first = k
        while k < end and ord("0") <= data[k] <= ord("9"):
            k += 1
        time_end = k
        sound = k > first and k + 2 < end and data[k] == ord(" ") and data[k + 1] == ord("{")
        if not sound or data[k + 2] != ord('"'):
            # A time and an empty object is a message, of no stream of ours.
            if not (sound and data[k + 2] == ord("}")):
                found += 1
            continue
        # The first name tells whether the message is wrapped.
        name = k + 3
        name_end = _string_end(data, name, end)
        if name_end < 0:
            found += 1
            continue
        k = name_end + 1
        kind = -1
        wrapped = False
        if _same(data, name, name_end, _UPDATE):
            kind = QUOTES
            k = name - 2
        elif _same(data, name, name_end, _STREAM) or _same(data, name, name_end, _EVENT):
            wrapped = name_end - name > 1
            while k < end and (data[k] == ord(":") or data[k] == ord(" ")):
                k += 1
            value = k + 1
            is_text = k < end and data[k] == ord('"')
            value_end = _string_end(data, value, end) if is_text else -1
            if value_end < 0:
                found += 1
                continue
            k = value_end + 1
            # A stream is named `symbol@kind` or `symbol@kind@speed`.
            word = value
            word_end = value_end
            if wrapped:
                for i in range(value, value_end):
                    if data[i] == ord("@"):
                        if word == value:
                            word = i + 1
                        else:
                            word_end = i
                            break
                if word == value and data[word] == ord("!"):
                    word += 1
            if _same(data, word, word_end, _TRADE):
                kind = SINGLE
            elif _same(data, word, word_end, _AGG_TRADE):
                kind = AGGREGATED
            elif _same(data, word, word_end, _BOOK_TICKER):
                kind = QUOTES
            if wrapped:
                while k < end and (data[k] == ord(",") or data[k] == ord(" ")):
                    k += 1
                is_data = k + 5 < end and data[k] == ord('"')
                is_data = is_data and _same(data, k + 1, k + 5, _DATA)
                k += 6
                while k < end and (data[k] == ord(":") or data[k] == ord(" ")):
                    k += 1
                if kind > 0 and not (is_data and k < end and data[k] == ord("{")):
                    kind = -2
            else:
                k = name - 2
        if kind == -2:
            found += 1
            continue
        if stream == UNDECIDED and SINGLE <= kind <= AGGREGATED:
            stream = kind
        if kind != stream or kind <= 0:
            continue
        # Now `k` is at the brace that opens a flat message.
        names = aggregated_keys if kind == AGGREGATED else keys
        k += 1
        closed = False
        while k < end:
            if data[k] == ord(" ") or data[k] == ord(","):
                k += 1
                continue
            if data[k] == ord("}"):
                closed = True
                break
            if data[k] != ord('"'):
                break
            name = k + 1
            name_end = _string_end(data, name, end)
            if name_end < 0:
                break
            k = name_end + 1
            while k < end and (data[k] == ord(":") or data[k] == ord(" ")):
                k += 1
            if k == end:
                break
            if data[k] == ord('"'):
                value = k + 1
                value_end = _string_end(data, value, end)
                if value_end < 0:
                    break
                k = value_end + 1
            else:
                value = k
                while k < end and data[k] != ord(",") and data[k] != ord("}"):
                    k += 1
                if k == end:
                    break
                value_end = k
                if data[value] == ord("[") or data[value] == ord("{"):
                    break
            if name_end - name == 1:
                for slot in range(slots):
                    if names[slot] == data[name]:
                        starts[slot + 1, found] = value
                        ends[slot + 1, found] = value_end
        # The line ends with the message, or with the brace of what it is wrapped in.
        if wrapped:
            k += 1
            closed = closed and k < end and data[k] == ord("}")
        if closed and k + 1 == end:
            starts[0, found] = first
            ends[0, found] = time_end
        found += 1
    return found, line, position, stream
