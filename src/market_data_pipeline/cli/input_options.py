"""The options that say how files are to be read, the same for every command that reads."""

from __future__ import annotations

__all__ = (
    "ReadSettings",
    "input_options",
    "naming_options",
    "range_options",
    "replay_source",
)

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from market_data_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from market_data_pipeline.source.replay import ReplaySource

_OPTION_OF: Final = {
    "start": "--from",
    "end": "--to",
    "every": "--every",
    "out_of_order": "--out-of-order",
    "max_future_skew": "--max-future-skew",
    "timezone": "--timezone",
    "columns": "--column",
    "batch_rows": "--batch-rows",
    "speed": "--speed",
    "table": "--table",
    "stale": "--stale",
    "price_band": "--band",
    "outlier": "--outlier",
    "key": "--key",
    "ttl": "--within",
}
FORMATS: Final = ("auto", "csv", "parquet", "arrow", "lean", "binance")


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How files are to be read.

    Attributes:
        format: `auto` to tell from name and content.
        kind: `trades` or `quotes`; None to tell from the columns.
        symbol: Symbol of files without one, or the only one to keep.
        columns: Our column names to the files' own.
        timezone: Zone of times that name none.
        batch_rows: Most rows in one batch.
        strict: Fail on the first row that cannot be taken.
        negative_prices: Take prices below zero.
    """

    format: str
    kind: str | None
    symbol: str | None
    columns: Mapping[str, str]
    timezone: str
    batch_rows: int
    strict: bool
    negative_prices: bool


class _Column(click.ParamType[tuple[str, str]]):
    name = "NAME=THEIRS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        ours, equals, theirs = value.partition("=")
        if not (ours and equals and theirs):
            self.fail(f"`{value}` must be our name, `=` and the file's name", param, ctx)
        return ours, theirs


_OPTIONS: Final = (
    click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
    click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="auto",
        show_default=True,
        help="Format of the inputs; auto tells it from names and content.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["trades", "quotes"]),
        help="What a row is; told from the columns if not given.",
    ),
    click.option(
        "--symbol", help="Symbol of all rows if the files hold none, else the only one to keep."
    ),
    click.option(
        "--column",
        "columns",
        type=_Column(),
        multiple=True,
        help="A column under another name, as in price=px; may be given several times.",
    ),
    click.option(
        "--timezone",
        default="UTC",
        show_default=True,
        help="Zone of times in the files that name none, as in America/New_York.",
    ),
    click.option(
        "--batch-rows",
        type=click.IntRange(min=1),
        default=65_536,
        show_default=True,
        help="Most rows read at a time; the result does not depend on it.",
    ),
    click.option(
        "--strict",
        is_flag=True,
        help="Fail on the first row that cannot be taken, instead of counting it as rejected.",
    ),
    click.option(
        "--negative-prices",
        is_flag=True,
        help="Take prices below zero, as of spreads and power; they are rejected otherwise.",
    ),
)


def input_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command; it is given `inputs` and `settings`."""

    @functools.wraps(function)
    def wrapper(
        *args: object,
        form: str,
        kind: str | None,
        symbol: str | None,
        columns: tuple[tuple[str, str], ...],
        timezone: str,
        batch_rows: int,
        strict: bool,
        negative_prices: bool,
        **others: object,
    ) -> None:
        settings = ReadSettings(
            *(form, kind, symbol, dict(columns), timezone, batch_rows, strict),
            negative_prices=negative_prices,
        )
        function(*args, settings=settings, **others)

    wrapped: Callable[..., None] = wrapper
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@contextmanager
def naming_options() -> Iterator[None]:
    """Say which option a wrong setting was given by."""
    try:
        yield
    except ConfigError as err:
        option = _OPTION_OF.get(err.parameter or "")
        if option is None:
            raise
        msg = f"{option}: {err}"
        raise ConfigError(msg, parameter=err.parameter) from err


def range_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add `--from` and `--to` to a command; it is given `start` and `end`."""
    first = click.option(
        "--from",
        "start",
        metavar="TIME",
        help="Take rows from this event time on, as in 2024-05-06T09:30; in --timezone "
        "unless it names a zone.",
    )
    last = click.option(
        "--to", "end", metavar="TIME", help="Take rows before this event time; it is not included."
    )
    return first(last(function))


def replay_source(
    inputs: tuple[str, ...], settings: ReadSettings, **others: object
) -> ReplaySource:
    """Return the source that reads the inputs of a command.

    Args:
        inputs: Paths and patterns.
        settings: How to read them.
        others: Further settings of the source; those that are None are left out.

    Raises:
        ConfigError: If a setting cannot be.
    """
    from market_data_pipeline.source.replay import ReplaySource

    given: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    form: Any = settings.format
    kind: Any = settings.kind
    return ReplaySource(
        inputs,
        format=form,
        kind=kind,
        symbol=settings.symbol,
        columns=dict(settings.columns),
        timezone=settings.timezone,
        batch_rows=settings.batch_rows,
        strict=settings.strict,
        negative_prices=settings.negative_prices,
        **given,
    )
