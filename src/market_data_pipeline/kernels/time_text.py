"""Text of ISO 8601 times, dates and epochs to nanoseconds."""

# ruff: noqa: FBT001, PLR1714 - kernels have no keywords, and sets would be built each time

from __future__ import annotations

__all__ = ("time_text_to_ns",)

import numpy as np
from numba import boolean, int64

from market_data_pipeline.kernels.byte_at import byte_at
from market_data_pipeline.kernels.compiling import called, inlined, kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    BYTES_OUT,
    INT32S_IN,
    INTS_OUT,
    Bytes,
    Int32s,
    Int64s,
)
from market_data_pipeline.kernels.status import EMPTY, INEXACT, LOCAL, MALFORMED, OK, OVERFLOW

_POWERS = np.array([10**i for i in range(19)], np.int64)
_MONTH_DAYS = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


@inlined
def _two(data: Bytes, k: int) -> int:
    # The number of two digits, or one that no check lets pass.
    a = byte_at(data, k) - 48
    b = byte_at(data, k + 1) - 48
    # Without a branch for each digit.
    sound = (a >= 0) & (a <= 9) & (b >= 0) & (b <= 9)
    return a * 10 + b if sound else 10_000


@called
def _date(date: int) -> tuple[int, int]:
    # (code, ns) of the midnight of YYYYMMDD. A part that was no number, 10_000, has left a
    # month or day of 00, or a year past 9999.
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year > 9_999 or month < 1 or month > 12 or day < 1:
        return MALFORMED, 0
    if day > _MONTH_DAYS[month - 1] - (month == 2 and not leap):
        return MALFORMED, 0
    if year < 1678 or year > 2261:
        return OVERFLOW, 0
    # Days since 1970-01-01 of the proleptic Gregorian calendar, counted from March.
    y = year - (month <= 2)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return OK, days * 86_400_000_000_000


@called
def _epoch(data: Bytes, k: int, end: int) -> tuple[int, int]:
    # (code, ns) of a number of s, ms, us or ns, fraction allowed.
    negative = byte_at(data, k) == ord("-")
    if negative or byte_at(data, k) == ord("+"):
        k += 1
    first = k
    value = 0
    while k < end and 48 <= byte_at(data, k) <= 57:
        if k - first >= 19 or value > 922337203685477579:
            return OVERFLOW, 0
        value = value * 10 + byte_at(data, k) - 48
        k += 1
    if k == first:
        return MALFORMED, 0
    places = 0
    if value < 100_000_000_000:
        places = 9
    elif value < 100_000_000_000_000:
        places = 6
    elif value < 100_000_000_000_000_000:
        places = 3
    if value > 9223372036854775806 // _POWERS[places]:
        return OVERFLOW, 0
    value *= _POWERS[places]
    if k < end and byte_at(data, k) == ord("."):
        k += 1
        if k == end:
            return MALFORMED, 0
        while k < end and 48 <= byte_at(data, k) <= 57:
            places -= 1
            if places >= 0:
                step = (byte_at(data, k) - 48) * _POWERS[places]
                if value > 9223372036854775806 - step:
                    return OVERFLOW, 0
                value += step
            elif byte_at(data, k) != 48:
                return INEXACT, 0
            k += 1
    if k != end:
        return MALFORMED, 0
    return OK, -value if negative else value


@called
def _clock(data: Bytes, k: int, end: int, day_ns: int, utc: bool) -> tuple[int, int]:
    # (code, ns) of `hh:mm[:ss[.f]][zone]` on the day that starts at `day_ns`.
    if end - k < 5 or byte_at(data, k + 2) != ord(":"):
        return MALFORMED, 0
    hour, minute, second = _two(data, k), _two(data, k + 3), 0
    k += 5
    fraction = 0
    code = OK
    if k < end and byte_at(data, k) == ord(":"):
        if end - k < 3:
            return MALFORMED, 0
        second = _two(data, k + 1)
        k += 3
        if k < end and (byte_at(data, k) == ord(".") or byte_at(data, k) == ord(",")):
            k += 1
            places = 9
            while k < end:
                digit = byte_at(data, k) - 48
                if digit < 0 or digit > 9:
                    break
                places -= 1
                if places >= 0:
                    fraction = fraction * 10 + digit
                elif digit != 0:
                    code = INEXACT
                k += 1
            if places == 9:
                return MALFORMED, 0
            if places > 0:
                fraction *= _POWERS[places]
    if hour > 23 or minute > 59 or second > 59:
        return MALFORMED, 0
    ns = day_ns + (hour * 3600 + minute * 60 + second) * 1_000_000_000 + fraction
    if k < end and byte_at(data, k) == 32:
        k += 1
    left = end - k
    if left == 0:
        return (code if utc or code != OK else LOCAL), ns
    if left == 1 and (byte_at(data, k) | 32) == ord("z"):
        return code, ns
    if (
        left == 3
        and byte_at(data, k) == ord("U")
        and byte_at(data, k + 1) == ord("T")
        and byte_at(data, k + 2) == ord("C")
    ):
        return code, ns
    minus = byte_at(data, k) == ord("-")
    if not minus and byte_at(data, k) != ord("+"):
        return MALFORMED, 0
    colon = left == 6 and byte_at(data, k + 3) == ord(":")
    if left != 3 and left != 5 and not colon:
        return MALFORMED, 0
    hours = _two(data, k + 1)
    minutes = 0 if left == 3 else _two(data, k + 3 + colon)
    if hours > 23 or minutes > 59:
        return MALFORMED, 0
    offset = (hours * 3600 + minutes * 60) * 1_000_000_000
    return code, ns + offset if minus else ns - offset


@kernel(int64(INT32S_IN, INT32S_IN, BYTES_IN, boolean, INTS_OUT, BYTES_OUT))
def time_text_to_ns(
    starts: Int32s, ends: Int32s, data: Bytes, utc: bool, out: Int64s, status: Bytes
) -> int:
    """Convert `YYYY-MM-DD`, ISO 8601 times, and numbers since the UNIX epoch.

    A time of day follows a `T` or a space; it has up to nine places of a second and a
    zone `Z`, `UTC`, `+hh`, `+hhmm` or `+hh:mm`, or none. The unit of a number is told by
    its magnitude as in `epochs_to_ns`.

    Args:
        starts: (n,) int32, where the text of each row starts in `data`.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
        utc: Whether a time without a zone is UTC; if not, its status is `LOCAL`.
        out: (n,) int64 nanoseconds UTC, or local where the status says so; written.
        status: (n,) uint8, written: `OK`, `LOCAL`, `EMPTY`, `MALFORMED`, `INEXACT` or
            `OVERFLOW` (before 1678 or after 2261).

    Returns:
        How many rows are not `OK`.
    """
    bad = 0
    last_date = -1
    day_ns = 0
    for i in range(starts.shape[0]):
        k = int(starts[i])
        end = int(ends[i])
        while k < end and byte_at(data, k) == 32:
            k += 1
        while end > k and byte_at(data, end - 1) == 32:
            end -= 1
        code = OK
        ns = 0
        dash = byte_at(data, k + 4) if end - k >= 10 else 0
        if k == end:
            code = EMPTY
        elif (dash == ord("-") or dash == ord("/")) and byte_at(data, k + 7) == dash:
            date = (_two(data, k) * 100 + _two(data, k + 2)) * 10_000
            date += _two(data, k + 5) * 100 + _two(data, k + 8)
            # Most rows are of the day of the row before.
            if date != last_date:
                code, day_ns = _date(date)
                last_date = date if code == OK else -1
            if code == OK:
                ns = day_ns
                if end - k == 10:
                    code = OK if utc else LOCAL
                elif (byte_at(data, k + 10) | 32) == ord("t") or byte_at(data, k + 10) == 32:
                    code, ns = _clock(data, k + 11, end, ns, utc)
                else:
                    code = MALFORMED
        else:
            code, ns = _epoch(data, k, end)
        out[i] = ns
        status[i] = code
        bad += code != OK
    return bad
