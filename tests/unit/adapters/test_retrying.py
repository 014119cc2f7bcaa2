"""What is worth another try, and after how long."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import pairwise
from types import ModuleType

import pytest

from market_data_pipeline.adapters.retrying import (
    Backoff,
    OnlyRetryable,
    is_retryable,
    retry_after_s,
)
from support.providers import TransientError


def test_errors_that_say_so_are_retried() -> None:
    """An error may say it of itself, either way; Python's own connection errors are known."""
    refusal = TransientError()
    refusal.retryable = False
    assert is_retryable(TransientError())
    assert not is_retryable(refusal)
    assert is_retryable(ConnectionResetError())
    assert is_retryable(TimeoutError())
    assert not is_retryable(OSError())
    assert not is_retryable(ValueError("temporary"))


def test_errors_of_core_are_known_once_core_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core's class decides, and nobody imports core to find out."""
    errors = ModuleType("market_data_core.errors")

    class RetryableProviderError(Exception):
        pass

    monkeypatch.delitem(sys.modules, "market_data_core.errors", raising=False)
    assert not is_retryable(RetryableProviderError())
    errors.RetryableProviderError = RetryableProviderError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "market_data_core.errors", errors)
    assert is_retryable(RetryableProviderError())


@pytest.mark.parametrize(
    ("asked", "delay_s"), [(600, 600.0), (0.5, 0.5), (None, 0.0), (-1, 0.0), (float("nan"), 0.0)]
)
def test_delay_that_is_asked_for_is_a_number_of_seconds(
    asked: float | None, delay_s: float
) -> None:
    """Nonsense counts as nothing said."""
    assert retry_after_s(TransientError(asked)) == delay_s


def test_delays_grow_at_random_up_to_the_longest() -> None:
    """Each lies between the first and three times the one before, and the seed decides."""
    backoff = Backoff(0.5, 10, seed=7)
    delays = [backoff.next_s() for _ in range(50)]
    assert all(0.5 <= delay <= 10 for delay in delays)
    for before, after in pairwise(delays):
        assert after <= before * 3
    assert max(delays) == 10
    again = Backoff(0.5, 10, seed=7)
    assert delays == [again.next_s() for _ in range(50)]
    assert delays != [Backoff(0.5, 10, seed=8).next_s() for _ in range(50)]
    backoff.reset()
    assert backoff.next_s() <= 1.5


def test_those_who_fail_together_do_not_come_back_together() -> None:
    """Feeds of the same settings that are cut off at once spread over the time of a delay."""
    feeds = [Backoff(1, 30) for _ in range(300)]
    back_at = [sum(feed.next_s() for _ in range(8)) for feed in feeds]
    seconds = Counter(int(at) for at in back_at)
    assert max(seconds.values()) < 30


def test_only_failures_worth_another_try_are_kept() -> None:
    """Others pass through."""
    attempt = OnlyRetryable()
    failure = TransientError()
    with attempt:
        raise failure
    assert attempt.error is failure
    with pytest.raises(ValueError, match="no"), OnlyRetryable():
        raise ValueError("no")  # noqa: EM101
