"""Local times to UTC by the rules of a named zone."""

from __future__ import annotations

__all__ = ("LocalTimes",)

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.kernels.status import LOCAL

Int64s = npt.NDArray[np.int64]

_SECOND: Final = 1_000_000_000
_DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UTC_NAMES: Final = frozenset({"UTC", "Etc/UTC", "Z", "GMT", "Etc/GMT"})
_FIRST_S, _LAST_S = -9_300_000_000, 9_300_000_000  # a little more than int64 nanoseconds


class LocalTimes:
    """The offsets of one zone, found as times need them.

    A local time that the clocks show twice is the first of the two. One that they jump
    over does not exist and its row is rejected.

    Args:
        name: Name of the zone as in the IANA database.

    Raises:
        ConfigError: If there is no such zone.
    """

    def __init__(self, name: str) -> None:
        self.is_utc = name in _UTC_NAMES
        self._name = name
        self._from_s = self._to_s = 0
        self._starts = np.zeros(0, np.int64)
        self._offsets = np.zeros(0, np.int64)
        if not self.is_utc:
            _ = self._zone

    @cached_property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self._name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            msg = (
                f"there is no time zone `{self._name}`; "
                "use a name of the IANA database, as `America/New_York`"
            )
            raise ConfigError(msg, parameter="timezone") from err

    def to_utc(self, times: Int64s, status: npt.NDArray[np.uint8]) -> int:
        """Convert, in place, the times whose status is `LOCAL`; count what cannot be.

        Args:
            times: (n,) nanoseconds, local going in, UTC coming out.
            status: (n,) changed from `LOCAL` to `OK` or `NONEXISTENT`.
        """
        from market_data_pipeline.kernels.local_time import local_to_utc

        local = times[status == LOCAL]
        if not len(local):
            return 0
        # Offsets are within a day; two days of margin hold the first segment's start.
        first = int(local.min()) // _SECOND - 2 * _DAY_S
        last = int(local.max()) // _SECOND + 2 * _DAY_S
        if not len(self._starts) or first < self._from_s or last > self._to_s:
            self._find(first, last)
        return int(local_to_utc(self._starts, self._offsets, times, status))

    def _find(self, first: int, last: int) -> None:
        if len(self._starts):
            first, last = min(first, self._from_s), max(last, self._to_s)
        # Whole years around it, so that a file in order seldom asks again.
        first = max(first - 200 * _DAY_S, _FIRST_S)
        last = min(last + 200 * _DAY_S, _LAST_S)
        starts, offsets = [first], [self._offset(first)]
        at = first
        while at < last:
            following = min(at + _DAY_S, last)
            if self._offset(following) != offsets[-1]:
                change = self._change(at, following)
                starts.append(change)
                offsets.append(self._offset(change))
                at = change
            else:
                at = following
        lowest = int(np.iinfo(np.int64).min)
        self._starts = np.array([max(s * _SECOND, lowest) for s in starts], np.int64)
        self._offsets = np.array(offsets, np.int64) * _SECOND
        self._from_s, self._to_s = first, last

    def _change(self, low: int, high: int) -> int:
        # The first second after `low` whose offset is another.
        old = self._offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == old:
                low = middle
            else:
                high = middle
        return high

    def _offset(self, utc_s: int) -> int:
        offset = (_EPOCH + timedelta(seconds=utc_s)).astimezone(self._zone).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())
