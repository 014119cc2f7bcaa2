"""A source of quotes that draws on the budget of its provider."""

from __future__ import annotations

__all__ = ("CoordinatedSource",)

import inspect
from collections.abc import AsyncGenerator
from typing import Any

from market_data_pipeline.errors import RetryableError
from market_data_pipeline.orchestration.circuit_breaker import CircuitBreakerOpen
from market_data_pipeline.orchestration.coordinator import RateCoordinator


class CoordinatedSource:
    """Asks the coordinator before each quote, and tells it how it went.

    Args:
        provider: Whose budget it draws on; registered with the coordinator.
        source: What gives quotes, by `stream()`.
        coordinator: The budgets.
    """

    def __init__(self, provider: str, source: Any, coordinator: RateCoordinator) -> None:
        self._provider = provider
        self._source = source
        self._coordinator = coordinator

    @property
    def symbols(self) -> Any:
        """The symbols of the source."""
        return getattr(self._source, "symbols", ())

    @property
    def capabilities(self) -> Any:
        """What the source can give."""
        return getattr(self._source, "capabilities", None)

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Give the quotes.

        Raises:
            RetryableError: If its circuit is open.
            Exception: What the source raises.
        """
        provider, coordinator = self._provider, self._coordinator
        items = self._source.stream()
        try:
            while True:
                try:
                    await coordinator.acquire(provider)
                except CircuitBreakerOpen as err:
                    raise RetryableError(str(err)) from err
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                except (RetryableError, OSError) as err:
                    await coordinator.record_failure(provider, getattr(err, "code", None))
                    raise
                await coordinator.record_success(provider)
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """Close the source."""
        result = self._source.close()
        if inspect.isawaitable(result):
            await result
