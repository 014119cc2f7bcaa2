"""Which errors may go well another time, and when that is."""

from __future__ import annotations

import errno

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.sink.retry import RetryPolicy, is_transient, sqlstate_of


class DriverError(Exception):
    """As database drivers have it."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class OperationalError(Exception):
    """The name that DB-API gives what has to do with the server."""


class BrokerError(Exception):
    """As Kafka's client has it."""

    def __init__(self, *, retriable: bool) -> None:
        super().__init__("timeout")
        self._retriable = retriable

    def retriable(self) -> bool:
        return self._retriable


@pytest.mark.parametrize(
    "state", ["08006", "40001", "40P01", "53300", "55P03", "57014", "57P01", "57P03"]
)
def test_state_decides_that_it_is_transient(state: str) -> None:
    """Whatever the text says."""
    assert is_transient(DriverError("invalid data", state))


@pytest.mark.parametrize("state", ["22003", "23505", "28P01", "42501", "42P01", "53100"])
def test_state_decides_that_it_is_permanent(state: str) -> None:
    """Whatever the text says."""
    assert not is_transient(DriverError("connection timeout", state))


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        ConnectionRefusedError("x"),
        OSError(errno.EHOSTUNREACH, "x"),
        OperationalError("who knows"),
        BrokerError(retriable=True),
    ],
)
def test_kind_of_error_decides_that_it_is_transient(error: Exception) -> None:
    """Where there is no state."""
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("timeout must be positive"),
        PermissionError("connection reset"),
        KeyError("deadlock"),
        OSError(errno.ENOSPC, "temporarily"),
        BrokerError(retriable=False),
    ],
)
def test_kind_of_error_decides_that_it_is_permanent(error: Exception) -> None:
    """A word in the text does not count then."""
    assert not is_transient(error)


def test_what_caused_an_error_counts() -> None:
    """A client that wraps its driver's error does not hide it."""
    wrapped = RuntimeError("the store failed")
    wrapped.__cause__ = DriverError("", "40001")
    assert is_transient(wrapped)


def test_state_is_known_under_the_names_of_both_drivers() -> None:
    """And is nothing but five letters."""
    error = Exception()
    error.pgcode = "40P01"  # type: ignore[attr-defined]
    assert sqlstate_of(error) == "40P01"
    assert sqlstate_of(DriverError("", "x")) is None


def test_attempts_include_the_first() -> None:
    """With 0 or 1 nothing is tried again."""
    error = TimeoutError()
    assert [RetryPolicy(3).again(error, attempt) for attempt in (1, 2, 3)] == [True, True, False]
    assert not RetryPolicy(0).again(error, 1)
    assert not RetryPolicy(3).again(ValueError(), 1)


def test_delay_doubles_up_to_a_limit_and_differs_between_workers() -> None:
    """So that two that stood in each other's way part."""
    policy = RetryPolicy(backoff_s=0.5, max_backoff_s=3)
    assert [policy.delay_s(attempt) for attempt in (1, 2, 3, 4, 999)] == [0.5, 1, 2, 3, 3]
    assert policy.delay_s(1, 2) == 0.625


def test_negative_delay_is_refused() -> None:
    """By name."""
    with pytest.raises(ConfigError, match="`backoff_s` and `max_backoff_s`"):
        RetryPolicy(backoff_s=-1)
