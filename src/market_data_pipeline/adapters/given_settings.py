"""Settings that are handed on to a provider, which may hold secrets."""

from __future__ import annotations

__all__ = ("settings_of",)

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from market_data_pipeline.errors import ConfigError


@contextmanager
def settings_of(provider: str) -> Iterator[None]:
    """Tell which settings of a provider are wrong, and not what they were.

    Raises:
        ConfigError: If the block finds some to be wrong.
    """
    try:
        yield
    except ValidationError as err:
        # Not its own text, nor as the cause: it shows each value, also that of a password.
        found = err.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(
            f"`{'.'.join(map(str, one['loc'])) or 'settings'}`: {one['msg'][:1].lower()}"
            f"{one['msg'][1:]}"
            for one in found
        )
        msg = f"`settings` of the provider `{provider}`: {wrong}"
        raise ConfigError(msg, parameter="settings") from None
