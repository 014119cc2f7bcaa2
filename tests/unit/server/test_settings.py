"""Settings of the server that would let in anyone are refused."""

from __future__ import annotations

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.server.settings import ServerSettings, is_loopback
from support.live_server import TOKEN


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.evil"])  # noqa: S104
def test_other_address_needs_a_token(host: str) -> None:
    """A server that others can reach does not start without a token."""
    with pytest.raises(ConfigError, match="give a token"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, token=TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    """What only this machine reaches may be open."""
    assert is_loopback(host)
    assert ServerSettings(host=host).token is None


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a blank in the middle", "ü" * 20])
def test_weak_token_is_refused_and_not_repeated(token: str) -> None:
    """A token that can be guessed, or not be sent, is refused; the message leaves it out."""
    with pytest.raises(ConfigError, match="visible ASCII") as caught:
        ServerSettings(token=token)
    assert not token or token not in str(caught.value)


def test_token_is_not_shown() -> None:
    """Whoever prints the settings does not print the token."""
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("body_bytes", 0),
        ("connections", 0),
        ("header_timeout_s", 0),
        ("body_timeout_s", float("inf")),
        ("every_s", float("nan")),
    ],
)
def test_setting_out_of_range_is_refused(name: str, value: float) -> None:
    """A bound that is none is refused, with its name."""
    with pytest.raises(ConfigError, match=name):
        ServerSettings(**{name: value})  # type: ignore[arg-type]


def test_half_a_certificate_is_refused() -> None:
    """A certificate without its key is a mistake."""
    with pytest.raises(ConfigError, match="together"):
        ServerSettings(tls_cert="cert.pem")  # type: ignore[arg-type]
