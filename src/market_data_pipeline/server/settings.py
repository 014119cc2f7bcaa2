"""What the HTTP server listens on, whom it lets in, and how much it takes from anyone."""

from __future__ import annotations

__all__ = ("DEFAULT_PORT", "ServerSettings", "is_loopback")

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.telemetry.http import is_loopback

DEFAULT_PORT: Final = 8083

_TOKEN_LEAST: Final = 16


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of the HTTP server.

    Attributes:
        host: Address to listen on. Any but a loopback address needs a token.
        port: Port to listen on; 0 takes a free one.
        token: What a client must bring as `Authorization: Bearer`; None lets in
            everyone on this machine and nobody else.
        hosts: Names besides its address under which clients reach the server, as in
            `mdp.example.com`; others are refused, which stops DNS rebinding.
        data_roots: Folders below which a pipeline given over HTTP may read and write
            files; without one it may name no file.
        targets: `host:port` of databases and brokers a pipeline given over HTTP may name.
        body_bytes: Most bytes of a request's body.
        connections: Most connections at a time.
        header_timeout_s: Seconds a client has for the head of a request.
        body_timeout_s: Seconds it has for the body.
        send_timeout_s: Seconds it may leave what it is sent unread.
        every_s: Seconds between two snapshots of the live page.
        tls_cert: Certificate file for HTTPS; None for HTTP.
        tls_key: Its key file.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    data_roots: tuple[Path, ...] = ()
    targets: tuple[str, ...] = ()
    body_bytes: int = 1 << 20
    connections: int = 100
    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    send_timeout_s: float = 20.0
    every_s: float = 0.5
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            msg = f"`port` must be between 0 and 65535, was {self.port}"
            raise ConfigError(msg, parameter="port")
        if self.token is not None and not _is_strong(self.token):
            msg = (
                f"`token` must be at least {_TOKEN_LEAST} visible ASCII characters; "
                'make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`'
            )
            raise ConfigError(msg, parameter="token")
        if self.token is None and not is_loopback(self.host):
            msg = (
                f"`host` is `{self.host}`, which others can reach; give a token "
                "(`--token-env` or `--token-file`), or listen on 127.0.0.1"
            )
            raise ConfigError(msg, parameter="host")
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "`tls_cert` and `tls_key` are given together or not at all"
            raise ConfigError(msg, parameter="tls_cert")
        for name in ("body_bytes", "connections"):
            if getattr(self, name) < 1:
                msg = f"`{name}` must be positive, was {getattr(self, name)}"
                raise ConfigError(msg, parameter=name)
        for name in ("header_timeout_s", "body_timeout_s", "send_timeout_s", "every_s"):
            if not 0 < getattr(self, name) < float("inf"):
                msg = f"`{name}` must be positive and finite, was {getattr(self, name)}"
                raise ConfigError(msg, parameter=name)


def _is_strong(token: str) -> bool:
    return len(token) >= _TOKEN_LEAST and all("!" <= char <= "~" for char in token)
