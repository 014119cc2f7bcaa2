"""Find rows whose key was seen before: neighbouring keys share an entry of a hash table."""

from __future__ import annotations

__all__ = ("NEVER", "drop_expired", "find_duplicates", "insert_groups")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.prefetch import prefetch

NEVER: Final = int(np.iinfo(np.int64).min)
"""The expiry of a key that was not seen: no watermark is below it."""

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)

# Two constants with well spread bits: 2**64 divided by the golden ratio, and the
# multiplier of the murmur finaliser.
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
# Sixteen neighbouring groups share a line of sixteen slots, so that sequence numbers that
# count up stay in the processor's cache.
_LINE_BITS: Final = 4
_LINE: Final = np.uint64(15)
# Odd, so that a probe comes to every slot; more than a line, so that it leaves the line.
_STEP: Final = np.uint64(17)
# Lines asked for this many groups before they are written.
_AHEAD: Final = 16
_MAX: Final = int(np.iinfo(np.int64).max)


@inlined
def _hash(first: Any, group: Any) -> Any:
    h = (np.uint64(first) * _GOLDEN) ^ (np.uint64(group >> _LINE_BITS) * _MIX)
    h ^= h >> np.uint64(32)
    h *= _GOLDEN
    return h ^ (h >> np.uint64(29))


@inlined
def _slot_of(h: Any, group: Any, mask: Any) -> Any:
    # Within the line groups are permuted by the hash, or numbers that step by a line
    # would crowd one slot.
    within = (np.uint64(group) ^ (h >> np.uint64(60))) & _LINE
    return ((h & ~_LINE) | within) & mask


@inlined
def _places(capacity: Any) -> Any:
    """Return the bits of a slot that hold a group's place; the others hold a tag."""
    bits = np.uint64(1)
    while bits < np.uint64(capacity):
        bits = (bits << np.uint64(1)) | np.uint64(1)
    return bits


@inlined
def _tag_of(h: Any, places: Any) -> Any:
    return (h >> np.uint64(32)) & ~places


def _signature(keys: Any) -> Any:
    return numba.int64(
        *(numba.uint32[::1], numba.int64[:, ::1], numba.int64[::1]),
        keys,
        *(_INT64S, _INT64S, _INT64S),
        *(numba.int64, numba.int64, numba.int64, numba.int64, numba.int64),
        *(numba.boolean[::1], numba.uint64[:, ::1]),
    )


@inlined
def _find(
    slots: Any,
    groups: Any,
    counts: Any,
    first: Any,
    second: Any,
    times: Any,
    watermarks: Any,
    highest: Any,
    bound: Any,
    ttl: Any,
    bits: Any,
    begin: Any,
    keep: Any,
    scratch: Any,
) -> Any:
    """Do what `find_duplicates` says, for a number of bits known when it is compiled."""
    mask = np.uint64(slots.size - 1)
    limit = np.uint64(groups.shape[0])
    places: Any = _places(limit)
    others = np.uint64(0xFFFFFFFF) & ~places
    members = np.uint64((1 << bits) - 1)
    width = np.uint64(2 + (1 << bits))
    flat = groups.reshape(groups.size)
    latest = _MAX - ttl
    used = np.uint64(counts[0])
    duplicates = 0
    explicit = watermarks.size > 0
    start = begin
    while start < times.size and used < limit:
        rows = min(scratch.shape[1], times.size - start)
        a_s = first[start : start + rows]
        b_s = second[start : start + rows]
        t_s = times[start : start + rows]
        k_s = keep[start : start + rows]
        w_s = watermarks[start : start + rows] if explicit else t_s
        slot_s = scratch[0]
        tag_s = scratch[1]
        for i in range(rows):
            h: Any = _hash(a_s[i], b_s[i] >> bits)
            slot_s[i] = _slot_of(h, b_s[i] >> bits, mask)
            tag_s[i] = (h >> np.uint64(32)) & others
        for i in range(rows):
            prefetch(slots, slot_s[i])
        for i in range(rows):
            found = np.uint64(slots[slot_s[i]])
            prefetch(flat, ((found & places) - np.uint64(1)) * width)
        row = np.uint64(0)
        while row < np.uint64(rows) and used < limit:
            a = np.int64(a_s[row])
            b = b_s[row]
            group = b >> bits
            tag = tag_s[row]
            slot = slot_s[row]
            time = t_s[row]
            watermark = highest - bound
            highest = w_s[row] if explicit else max(highest, time)
            expiry = min(time, latest) + ttl
            while True:
                found = np.uint64(slots[slot])
                at = ((found & places) - np.uint64(1)) * width
                if (
                    (found & others) == tag
                    and found != np.uint64(0)
                    and flat[at] == a
                    and flat[at + np.uint64(1)] == group
                ):
                    break
                if found == np.uint64(0):
                    at = used * width
                    used += np.uint64(1)
                    slots[slot] = np.uint32(tag | used)
                    flat[at] = a
                    flat[at + np.uint64(1)] = group
                    for k in range(1 << bits):
                        flat[at + np.uint64(2) + np.uint64(k)] = NEVER
                    break
                slot = (slot + _STEP) & mask
            at += np.uint64(2) + (np.uint64(b) & members)
            known = flat[at]
            seen = watermark < known
            flat[at] = known if seen else expiry
            k_s[row] = not seen
            duplicates += seen
            row += np.uint64(1)
        start += np.int64(row)
    counts[0] = used
    counts[1] += duplicates
    counts[2] = highest - bound
    return start


@kernel([_signature(_INT32S), _signature(_INT64S)])
def find_duplicates(
    slots: npt.NDArray[np.uint32],
    groups: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    first: npt.NDArray[Any],
    second: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    watermarks: npt.NDArray[np.int64],
    highest: int,
    bound: int,
    ttl: int,
    bits: int,
    begin: int,
    keep: npt.NDArray[np.bool_],
    scratch: npt.NDArray[np.uint64],
) -> int:
    """Mark the rows to keep; remember their keys until the watermark reaches their expiry.

    A row is a duplicate iff its key has an expiry and the watermark before the row is
    less than that. A kept row's expiry is its event time plus `ttl`; duplicates do not
    change it. Keys with one `first` and one `second >> bits` are a group: numbers that
    count up find the group of their predecessor, in the cache and where the branch
    predictor expects it.

    Args:
        slots: (s,) uint32, 0 if free, else the place of a group in `groups` plus one and,
            in the bits this leaves, a tag of its hash; s is a power of two >= 2 c.
        groups: (c, 2 + 2**bits) int64: first, `second >> bits`, and an expiry for each
            `second` of the group, `NEVER` if not seen. In the order they were made.
        counts: (3,) int64, updated: groups in use, duplicates found since the caller set
            it to 0, the watermark reached.
        first: (n,) int32 or int64, first half of the key.
        second: (n,) int64, second half of the key.
        times: (n,) int64 event times, nanoseconds.
        watermarks: (n,) int64, the watermark after each row; (0,) if it is the running
            maximum of `times` minus `bound`.
        highest: The watermark before row `begin`, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        ttl: Nanoseconds a key is remembered, >= 0.
        bits: How many low bits of `second` are left out of a group's key, 3 or 0.
        begin: The row to begin with.
        keep: (n,) bool, written from `begin` on: False for duplicates.
        scratch: (2, k) uint64, k >= 1 rows are looked up together.

    Returns:
        n, or the row before which room must be made: all of `groups` is in use.
    """
    if bits:
        row: int = _find(
            *(slots, groups, counts, first, second, times, watermarks),
            *(highest, bound, ttl, 3, begin, keep, scratch),
        )
    else:
        row = _find(
            *(slots, groups, counts, first, second, times, watermarks),
            *(highest, bound, ttl, 0, begin, keep, scratch),
        )
    return row


@kernel(numba.int64(numba.int64[:, ::1], numba.int64, numba.int64))
def drop_expired(groups: npt.NDArray[np.int64], used: int, watermark: int) -> int:
    """Move the groups that hold a key not expired to the start, in their order.

    Args:
        groups: (c, w) int64 as in `find_duplicates`, written.
        used: How many there are.
        watermark: Expiries that are not above this are over.

    Returns:
        How many are left.
    """
    width = groups.shape[1]
    left = 0
    for i in range(used):
        last = groups[i, 2]
        for k in range(3, width):
            last = max(last, groups[i, k])
        if last > watermark:
            if left < i:
                for k in range(width):
                    groups[left, k] = groups[i, k]
            left += 1
    return left


@kernel(numba.void(numba.uint32[::1], numba.int64[:, ::1], numba.int64))
def insert_groups(slots: npt.NDArray[np.uint32], groups: npt.NDArray[np.int64], used: int) -> None:
    """Let free slots point to groups that are all different.

    Args:
        slots: (s,) uint32 as in `find_duplicates`, all 0, written.
        groups: (c, w) int64 as in `find_duplicates`.
        used: How many there are.
    """
    mask = np.uint64(slots.size - 1)
    places: Any = _places(groups.shape[0])
    ahead = np.int64(_AHEAD)
    for i in range(used + ahead):
        if i < used:
            prefetch(slots, _slot_of(_hash(groups[i, 0], groups[i, 1]), groups[i, 1], mask))
        at = i - ahead
        if at >= 0:
            group = groups[at, 1]
            h: Any = _hash(groups[at, 0], group)
            slot = _slot_of(h, group, mask)
            while slots[slot] != 0:
                slot = (slot + _STEP) & mask
            slots[slot] = np.uint32(_tag_of(h, places) | np.uint64(at + 1))
