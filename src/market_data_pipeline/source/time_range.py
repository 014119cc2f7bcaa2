"""Moments written as ISO 8601, to nanoseconds."""

from __future__ import annotations

__all__ = ("moment_ns",)

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from market_data_pipeline.errors import ConfigError

_FRACTION: Final = re.compile(r"(?<=:\d\d)[.,](\d+)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_ns(text: str, timezone: str, parameter: str) -> int:
    """Return a moment as nanoseconds since the UNIX epoch, UTC.

    Args:
        text: A date, or a date and time with up to nine decimal places of a second.
        timezone: Zone of a moment that names none.
        parameter: Name of the setting, for the error.

    Raises:
        ConfigError: If the text is no moment, or there is no such zone.
    """
    fraction = _FRACTION.search(text)
    digits = fraction[1] if fraction else ""
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text))
    except ValueError:
        moment = None
    if moment is None or len(digits) > 9:
        msg = f"`{parameter}` must be an ISO 8601 moment, as `2024-01-31T09:30:00Z`, was `{text}`"
        raise ConfigError(msg, parameter=parameter)
    if moment.tzinfo is None:
        try:
            moment = moment.replace(tzinfo=ZoneInfo(timezone))
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            msg = f"there is no time zone `{timezone}`"
            raise ConfigError(msg, parameter="timezone") from err
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * 1_000_000_000 + int(digits.ljust(9, "0"))
