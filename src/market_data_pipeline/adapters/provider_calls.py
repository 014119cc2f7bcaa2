"""Calling a provider, in either shape it may have, and closing what was opened."""

from __future__ import annotations

__all__ = ("END", "NamedInstrument", "ProviderStream", "instruments_of", "provider_name")

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from market_data_pipeline.adapters.optional import has_core, require_optional
from market_data_pipeline.adapters.provider_rows import Kinds
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.errors import ConfigError, SourceError

END: Final = object()
"""What `ProviderStream.next` returns once the stream has come to its end."""


@runtime_checkable
class NamedInstrument(Protocol):
    """What an instrument must have at least.

    Attributes:
        symbol: Its symbol.
    """

    symbol: str


@dataclass(frozen=True, slots=True)
class _Instrument:
    """An instrument as market_data_core has it, where that is not installed."""

    symbol: str
    exchange: str = "SMART"
    currency: str = "USD"
    sec_type: str = "STK"
    conid: int | None = None
    primary_exchange: str | None = None
    local_symbol: str | None = None
    trading_class: str | None = None
    multiplier: str | None = None


def instruments_of(
    symbols: Sequence[str | Mapping[str, Any] | NamedInstrument],
) -> list[NamedInstrument]:
    """Return what a provider is asked for: core's instruments where core is installed.

    Raises:
        ConfigError: If a mapping is no instrument.
    """
    make: Any = _Instrument
    if has_core():
        make = require_optional("market_data_core", extra="core").Instrument
    made: list[NamedInstrument] = []
    for given in symbols:
        if not isinstance(given, str | Mapping):
            made.append(given)
            continue
        settings = {"symbol": given} if isinstance(given, str) else dict(given)
        try:
            made.append(make(**settings))
        except (TypeError, ValueError) as err:
            msg = f"`symbols` has {settings!r}, which is no instrument: {err}"
            raise ConfigError(msg, parameter="symbols") from err
    return made


def provider_name(provider: object) -> str:
    """Return what a provider calls itself: its `name`, else the name of its class."""
    name = getattr(provider, "name", None)
    return name if isinstance(name, str) and name else type(provider).__name__


class ProviderStream:
    """One stream of a provider, from the call to its end.

    Args:
        make: Gives the provider; called for each opening where the provider is ours.
        name: Name of the provider, for messages.
        kind: What to stream.
        arguments: What the provider's method is called with.
        owned: Whether the provider is entered and closed with the stream.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        name: str,
        kind: Kinds,
        arguments: Sequence[Any],
        *,
        owned: bool,
    ) -> None:
        self._make = make
        self._name = name
        self._kind = kind
        self._arguments = arguments
        self._owned = owned
        self._provider: Any = None
        self._stream: Any = None
        self._next: Callable[[], Awaitable[Any]] | None = None

    async def open(self) -> None:
        """Call the provider.

        Raises:
            SourceError: If it does not support what is asked for.
        """
        self._provider = provider = self._make()
        if self._owned and hasattr(provider, "__aenter__"):
            self._provider = provider = await provider.__aenter__()
        call = getattr(provider, f"stream_{self._kind}", None)
        if call is None:
            raise self._unsupported()
        try:
            found = call(*self._arguments)
            if inspect.isawaitable(found):
                found = await found
        except NotImplementedError as err:
            raise self._unsupported(str(err)) from err
        self._stream = found
        self._next = self._way_of(found)

    async def next(self) -> Any:
        """Return the next record, or `END`.

        Raises:
            SourceError: If the provider turns out not to support what is asked for.
        """
        if self._next is None:
            msg = f"the stream of the provider `{self._name}` is not open"
            raise SourceError(msg)
        try:
            return await self._next()
        except NotImplementedError as err:
            raise self._unsupported(str(err)) from err

    async def close(self) -> None:
        """Close the stream, then the provider if it is ours."""
        stream, provider = self._stream, self._provider
        self._stream = self._provider = self._next = None
        try:
            if stream is not None and hasattr(stream, "aclose"):
                await stream.aclose()
        finally:
            if provider is not None and self._owned:
                await _close(provider)

    def _unsupported(self, said: str = "") -> SourceError:
        more = f": {said}" if said else ""
        return SourceError(f"provider `{self._name}` does not support {self._kind}{more}")

    def _way_of(self, found: Any) -> Callable[[], Awaitable[Any]]:
        if hasattr(found, "__aiter__"):
            return _Asynchronous(found.__aiter__()).next
        if hasattr(found, "__iter__"):
            way = _Listed if isinstance(found, Sequence) else _Blocking
            return way(iter(found)).next
        msg = (
            f"`stream_{self._kind}` of the provider `{self._name}` must give an async iterator "
            f"or an iterable, gave {type(found).__name__}"
        )
        raise SourceError(msg)


class _Asynchronous:
    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator

    async def next(self) -> Any:
        try:
            return await self._iterator.__anext__()
        except StopAsyncIteration:
            return END


class _Listed:
    """Records that are there already."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator

    async def next(self) -> Any:
        return next(self._iterator, END)


class _Blocking(_Listed):
    """An iterator that may block: each step is taken in a thread."""

    async def next(self) -> Any:
        # What the thread has taken when a run is stopped is given up with it.
        return await in_thread(functools.partial(next, self._iterator, END))


async def _close(provider: Any) -> None:
    for name in ("__aexit__", "aclose", "close"):
        close = getattr(provider, name, None)
        if close is not None:
            closed = close(None, None, None) if name == "__aexit__" else close()
            if inspect.isawaitable(closed):
                await closed
            return
