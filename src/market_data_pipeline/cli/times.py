"""Times as people type them on a command line."""

from __future__ import annotations

__all__ = ("TIME", "parse_time")

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

_PATTERN: Final = re.compile(r"(.*?:\d{2})\.(\d{1,9})(.*)")
_WAY_OUT: Final = "write it as in 2024-05-06, 2024-05-06T09:30 or 2024-05-06T09:30:00.5+02:00"


def parse_time(text: str) -> int:
    """Return an ISO time as nanoseconds since the UNIX epoch; UTC if it names no zone.

    Raises:
        ValueError: If the text is no such time.
    """
    fraction = 0
    found = _PATTERN.fullmatch(text.strip())
    whole = text.strip()
    if found:
        whole = found.group(1) + found.group(3)
        fraction = int(found.group(2).ljust(9, "0"))
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + fraction
    if not -(1 << 63) < ns < (1 << 63) - 1:
        msg = "outside of what nanoseconds can hold, the years 1678 to 2261"
        raise ValueError(msg)
    return ns


class _Time(click.ParamType[int]):
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_time(value)
        except ValueError as err:
            self.fail(f"`{value}` is no time ({err}); {_WAY_OUT}", param, ctx)


TIME: Final = _Time()
