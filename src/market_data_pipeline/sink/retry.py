"""Whether it makes sense to try again, how often, and after how long."""

from __future__ import annotations

__all__ = ("RetryPolicy", "is_transient", "sqlstate_of")

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from market_data_pipeline.errors import ConfigError

_TRANSIENT_CLASSES: Final = ("08", "40", "53")
"""SQLSTATE classes: connection, transaction rollback, insufficient resources."""
_TRANSIENT_STATES: Final = frozenset(
    {
        "55006",  # object in use
        "55P03",  # lock not available
        "57014",  # query canceled, as by a statement timeout
        "57P01",  # admin shutdown
        "57P02",  # crash shutdown
        "57P03",  # cannot connect now
        "57P05",  # idle session timeout
        "25P03",  # idle in transaction session timeout
    }
)
_PERMANENT_STATES: Final = frozenset(
    {
        "53100",  # disk full
        "40002",  # transaction integrity constraint violation
    }
)
_TRANSIENT_ERRNO: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)
# What DB-API drivers raise where the server could not be asked; with a state, that decides.
_TRANSIENT_NAMES: Final = frozenset({"OperationalError", "InterfaceError", "PoolTimeout"})
_PERMANENT: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    PermissionError,
    TypeError,
    ValueError,
)
_TEXTS: Final = (
    "timeout",
    "timed out",
    "temporar",
    "deadlock",
    "unavailable",
    "try again",
    "too many connections",
    "could not connect",
    "connection reset",
    "connection refused",
    "connection closed",
    "connection is closed",
    "connection aborted",
    "connection lost",
    "broken pipe",
    "server closed the connection",
    "could not serialize",
)
_STATE_LENGTH: Final = 5
_DEPTH_MAX: Final = 8


def sqlstate_of(err: BaseException) -> str | None:
    """Return the five letters by which a database says what is wrong, None without any."""
    for name in ("sqlstate", "pgcode"):
        state = getattr(err, name, None)
        if isinstance(state, str) and len(state) == _STATE_LENGTH:
            return state
    return None


def is_transient(err: BaseException) -> bool:
    """Tell whether the same may go well another time.

    A SQLSTATE decides where there is one; then the kind of error, first its own and then
    that of what caused it; the words of its text only where nothing else is known.
    """
    for cause in _causes(err):
        known = _by_state(cause)
        if known is None:
            known = _by_kind(cause)
        if known is not None:
            return known
    text = str(err).lower()
    return any(words in text for words in _TEXTS)


def _causes(err: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = err
    for _ in range(_DEPTH_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _by_state(err: BaseException) -> bool | None:
    state = sqlstate_of(err)
    if state is None:
        return None
    if state in _PERMANENT_STATES:
        return False
    return state in _TRANSIENT_STATES or state.startswith(_TRANSIENT_CLASSES)


def _by_kind(err: BaseException) -> bool | None:
    said = getattr(err, "retriable", None)  # as Kafka's errors have it
    if callable(said):
        answer = said()
        if isinstance(answer, bool):
            return answer
    if isinstance(err, TimeoutError | ConnectionError | InterruptedError | BlockingIOError):
        return True
    if isinstance(err, _PERMANENT):
        return False
    if isinstance(err, OSError) and err.errno is not None:
        return err.errno in _TRANSIENT_ERRNO
    if any(cls.__name__ in _TRANSIENT_NAMES for cls in type(err).__mro__):
        return True
    return None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a batch is tried, and how long to wait in between.

    Attributes:
        max_attempts: How often at most, the first time included, from 1.
        backoff_s: Seconds before the second attempt; each further one waits twice as long.
        max_backoff_s: Seconds at most.
        is_transient: Tells errors after which it makes sense to try again from others.
    """

    max_attempts: int = 5
    backoff_s: float = 0.05
    max_backoff_s: float = 2.0
    is_transient: Callable[[BaseException], bool] = is_transient

    def __post_init__(self) -> None:
        if self.backoff_s < 0 or self.max_backoff_s < 0:
            msg = (
                "`backoff_s` and `max_backoff_s` must not be negative, "
                f"were {self.backoff_s} and {self.max_backoff_s}"
            )
            raise ConfigError(msg, parameter="backoff_s")

    def again(self, err: BaseException, attempt: int) -> bool:
        """Tell whether to try again after attempt number `attempt`, from 1, failed."""
        return attempt < self.max_attempts and self.is_transient(err)

    def delay_s(self, attempt: int, worker: int = 0) -> float:
        """Return the seconds to wait after attempt number `attempt` failed, from 1.

        Args:
            attempt: Which attempt failed.
            worker: Which worker it was: each waits a little longer than the one before
                it, so that two that stood in each other's way do not meet again.
        """
        doubled = self.backoff_s * 2.0 ** min(attempt - 1, 32)
        return float(min(doubled, self.max_backoff_s) * (1 + worker / 8))
