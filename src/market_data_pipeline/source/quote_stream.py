"""A source's own rows as a stream of quotes, for callers of version 0.8."""

from __future__ import annotations

__all__ = ("QuoteStream", "also_spelled")

import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any, ClassVar, TypeVar

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.nodes import NodeContext, SourceReader
from market_data_pipeline.objects import moment_of, objects_of
from market_data_pipeline.source.base import SourceStatus
from market_data_pipeline.source.capabilities import SourceCapabilities, SourceHealth
from market_data_pipeline.types import Quote

T = TypeVar("T")
Translate = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


class QuoteStream:
    """What a source component has besides, so that it can be used on its own.

    Attributes:
        capabilities: What it gives.
    """

    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities.TRADES

    def as_streamed(self) -> Any:
        """Return the source with the settings that hold when it is streamed."""
        return self

    async def stream(self) -> AsyncGenerator[Quote, None]:
        """Give the rows one by one as quotes, from the start.

        Raises:
            InputError: If the input is missing or cannot be read.
        """
        use = self._use()
        source = self.as_streamed()
        reader: SourceReader = await source.open(NodeContext(type_name_of(self)))
        use["readers"] = [*use["readers"], reader]
        try:
            while (given := await reader.read()) is not None:
                for port, item in given:
                    if port == "out" and isinstance(item, Batch) and len(item):
                        use["last_ns"] = int(item.times[-1])
                        for quote in objects_of(item, type_name_of(self)):
                            yield quote
                if reader not in use["readers"]:
                    return
        finally:
            await self._leave(reader)

    async def status(self) -> SourceStatus:
        """Return whether it is being streamed."""
        return SourceStatus(bool(self._use()["readers"]), type_name_of(self))

    async def health(self) -> SourceHealth:
        """Return how it fares."""
        use = self._use()
        last = None if use["last_ns"] is None else moment_of(use["last_ns"])
        return SourceHealth(bool(use["readers"]), last_tick_at=last)

    async def close(self) -> None:
        """End what is being streamed. Called again it does nothing."""
        for reader in self._use()["readers"]:
            await self._leave(reader)

    async def _leave(self, reader: SourceReader) -> None:
        use = self._use()
        if reader in use["readers"]:
            use["readers"] = [other for other in use["readers"] if other is not reader]
            await reader.close()

    def _use(self) -> dict[str, Any]:
        # Settings are frozen, and this is none of them.
        use: dict[str, Any] = self.__dict__.setdefault("_stream", {"readers": [], "last_ns": None})
        return use


def also_spelled(translate: Translate) -> Callable[[type[T]], type[T]]:
    """Let a component be made with the arguments of version 0.8 too.

    Args:
        translate: Given the arguments, returns those of the component, and under `ctx`
            what is kept as the attribute `ctx`.
    """

    def wrap(cls: type[T]) -> type[T]:
        made: Any = cls
        inner = made.__init__

        @functools.wraps(inner)
        def __init__(self: object, *args: object, **settings: object) -> None:  # noqa: N807
            args, settings = translate(args, settings)
            ctx = settings.pop("ctx", None)
            inner(self, *args, **settings)
            object.__setattr__(self, "ctx", ctx)

        made.__init__ = __init__
        return cls

    return wrap
