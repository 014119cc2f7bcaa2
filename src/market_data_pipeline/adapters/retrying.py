"""What is worth another try, and after how long."""

from __future__ import annotations

__all__ = ("Backoff", "OnlyRetryable", "Retryable", "is_retryable", "retry_after_s")

import math
import random
import sys
from types import TracebackType
from typing import Any, Final, Protocol, Self, runtime_checkable

_GROWTH: Final = 3
_CORE_ERRORS: Final = "market_data_core.errors"


@runtime_checkable
class Retryable(Protocol):
    """What an error says of itself if the same call may succeed later.

    It may say besides, as `retry_after_sec`, when to come back.

    Attributes:
        retryable: True if it may.
    """

    retryable: bool


def is_retryable(err: BaseException) -> bool:
    """Tell whether the same call may succeed later.

    True for `RetryableProviderError` of market_data_core, for errors that say so
    (`Retryable`), and for the connection errors and timeouts of Python itself.
    """
    if isinstance(err, Retryable):
        return err.retryable is True
    # Whoever raises core's error has imported core; nobody else need to.
    core: Any = sys.modules.get(_CORE_ERRORS)
    if core is not None and isinstance(err, core.RetryableProviderError):
        return True
    return isinstance(err, ConnectionError | TimeoutError)


def retry_after_s(err: BaseException) -> float:
    """Return the seconds after which an error asks to be tried again, 0 if it does not say."""
    asked = getattr(err, "retry_after_sec", None)
    if isinstance(asked, int | float) and math.isfinite(asked) and asked > 0:
        return float(asked)
    return 0.0


class Backoff:
    """Exponential delays with decorrelated jitter.

    Each is drawn between the first and three times the one before.

    Args:
        first_s: The shortest delay, seconds.
        most_s: The longest.
        seed: What the jitter follows from; None for one that nobody else has, so that those
            who failed together do not come back together.
    """

    def __init__(self, first_s: float, most_s: float, *, seed: int | None = None) -> None:
        self._first_s = min(first_s, most_s)
        self._most_s = most_s
        self._last_s = self._first_s
        self._random = random.Random(seed)  # noqa: S311  spreads load, keeps no secret

    def next_s(self) -> float:
        """Return the next delay."""
        drawn = self._random.uniform(self._first_s, self._last_s * _GROWTH)
        self._last_s = min(drawn, self._most_s)
        return self._last_s

    def reset(self) -> None:
        """Begin with short delays again."""
        self._last_s = self._first_s


class OnlyRetryable:
    """A block that may fail in a way that is worth another try; other failures go on.

    Attributes:
        error: The failure that ended the block, None if there was none.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep a failure that is worth another try, let others pass."""
        if err is None or not is_retryable(err):
            return False
        self.error = err
        return True
