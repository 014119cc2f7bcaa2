"""Find rows whose key was seen before: one open-addressing table, probed once a row."""

from __future__ import annotations

__all__ = ("find_duplicates", "insert_entries", "live_entries")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)
_ENTRIES = numba.types.Array(numba.int64, 2, "C", readonly=True)
_TAGS = numba.types.Array(numba.uint8, 1, "C", readonly=True)

# Two constants with well spread bits: 2**64 divided by the golden ratio, and the
# multiplier of the murmur finaliser.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
# Odd, so that a probe comes to every slot; more than a line, so that it leaves the line.
_STEP: Final = 9
_MAX: Final = int(np.iinfo(np.int64).max)


@njit(numba.uint64(numba.int64, numba.int64), cache=True, nogil=True)
def _hash(first: int, second: int) -> Any:
    h = (np.uint64(first) * _GOLDEN) ^ (np.uint64(second >> 3) * _MIX)
    h ^= h >> np.uint64(32)
    h *= _GOLDEN
    return h ^ (h >> np.uint64(29))


@njit(numba.int64(numba.uint64, numba.int64, numba.int64), cache=True, nogil=True)
def _slot_of(h: Any, second: int, mask: int) -> Any:
    # Eight neighbouring values of `second` share a line of eight slots, so that sequence
    # numbers that count up stay in the processor's cache. Within the line they are
    # permuted by the hash, or numbers that step by eight would crowd one slot.
    within = (second ^ np.int64(h >> np.uint64(61))) & 7
    return (np.int64(h & np.uint64(0x0FFFFFFFFFFFFFF8)) | within) & mask


@njit(numba.uint8(numba.uint64), cache=True, nogil=True)
def _tag_of(h: Any) -> Any:
    return np.uint8(((h >> np.uint64(53)) & np.uint64(255)) | np.uint64(1))


def _signature(keys: Any) -> Any:
    return numba.int64(
        *(numba.uint8[::1], numba.int64[:, ::1], numba.int64[::1]),
        keys,
        *(_INT64S, _INT64S, _INT64S),
        *(numba.int64, numba.int64, numba.int64, numba.int64),
        numba.boolean[::1],
    )


@njit([_signature(_INT32S), _signature(_INT64S)], cache=True, nogil=True)
def find_duplicates(
    tags: npt.NDArray[np.uint8],
    entries: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    first: npt.NDArray[Any],
    second: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    watermarks: npt.NDArray[np.int64],
    highest: int,
    bound: int,
    ttl: int,
    begin: int,
    keep: npt.NDArray[np.bool_],
) -> int:
    """Mark the rows to keep; remember their keys until the watermark reaches their expiry.

    A row is a duplicate iff its key is in the table and the watermark before the row is
    less than the entry's expiry. A kept row's expiry is its event time plus `ttl`;
    duplicates do not change it. A key that was not seen costs a look at the tags, which
    fit in the cache where the entries do not.

    Args:
        tags: (s,) uint8, 8 bits of the hash of each slot's key, 0 if the slot is free;
            s is a power of two >= 16.
        entries: (s, 3) int64: key, key, expiry.
        counts: (3,) int64, updated: slots in use, duplicates found since the caller set
            it to 0, the watermark reached.
        first: (n,) int32 or int64, first half of the key.
        second: (n,) int64, second half of the key.
        times: (n,) int64 event times, nanoseconds.
        watermarks: (n,) int64, the watermark after each row; (0,) if it is the running
            maximum of `times` minus `bound`.
        highest: The watermark before row `begin`, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        ttl: Nanoseconds a key is remembered, > 0.
        begin: The row to begin with.
        keep: (n,) bool, written from `begin` on: False for duplicates.

    Returns:
        n, or the row before which the table must be made anew: half of it is in use.
    """
    n = times.size
    mask = tags.size - 1
    limit = tags.size // 2
    used = counts[0]
    duplicates = counts[1]
    explicit = watermarks.size > 0
    row = begin
    while row < n and used < limit:
        a: Any = np.int64(first[row])
        b: Any = second[row]
        time = times[row]
        h = _hash(a, b)
        tag = _tag_of(h)
        slot = _slot_of(h, b, mask)
        watermark = highest - bound
        highest = watermarks[row] if explicit else max(highest, time)
        expiry = time + ttl if time <= _MAX - ttl else _MAX
        seen = False
        while True:
            found = tags[slot]
            if found == 0:
                # A row so late that it expires at once need not be remembered.
                if expiry > watermark:
                    used += 1
                    tags[slot] = tag
                    entries[slot, 0] = a
                    entries[slot, 1] = b
                    entries[slot, 2] = expiry
                break
            if found == tag and entries[slot, 0] == a and entries[slot, 1] == b:
                if watermark < entries[slot, 2]:
                    seen = True
                    duplicates += 1
                else:
                    entries[slot, 2] = expiry
                break
            slot = (slot + _STEP) & mask
        keep[row] = not seen
        row += 1
    counts[0] = used
    counts[1] = duplicates
    counts[2] = highest - bound
    return row


@njit(numba.int64(_TAGS, _ENTRIES, numba.int64, numba.int64[:, ::1]), cache=True, nogil=True)
def live_entries(
    tags: npt.NDArray[np.uint8],
    entries: npt.NDArray[np.int64],
    watermark: int,
    out: npt.NDArray[np.int64],
) -> int:
    """Copy out the entries that are not expired.

    Args:
        tags: (s,) uint8 as in `find_duplicates`.
        entries: (s, 3) int64 as in `find_duplicates`.
        watermark: Entries whose expiry is not above this are left out.
        out: (m, 3) int64, written from its start; m is more than the slots in use.

    Returns:
        The number of entries copied.
    """
    # Every slot is written, and stays only if the next one is not written over it: which
    # slots are live is random, and a branch on it would be guessed wrong.
    live = 0
    for slot in range(tags.size):
        out[live, 0] = entries[slot, 0]
        out[live, 1] = entries[slot, 1]
        out[live, 2] = entries[slot, 2]
        live += (tags[slot] != 0) & (entries[slot, 2] > watermark)
    return live


@njit(numba.void(numba.uint8[::1], numba.int64[:, ::1], _ENTRIES), cache=True, nogil=True)
def insert_entries(
    tags: npt.NDArray[np.uint8], entries: npt.NDArray[np.int64], added: npt.NDArray[np.int64]
) -> None:
    """Put entries whose keys are all different, and not there yet, into a table.

    Args:
        tags: (s,) uint8 as in `find_duplicates`, written.
        entries: (s, 3) int64 as in `find_duplicates`, written.
        added: (m, 3) int64, less than there are free slots.
    """
    mask = tags.size - 1
    for i in range(added.shape[0]):
        h = _hash(added[i, 0], added[i, 1])
        slot = _slot_of(h, added[i, 1], mask)
        while tags[slot] != 0:
            slot = (slot + _STEP) & mask
        tags[slot] = _tag_of(h)
        for k in range(3):
            entries[slot, k] = added[i, k]
