"""Logs as lines of JSON or text, without secrets.

What is logged goes through `redacted` when it becomes a line: message, arguments, extra
fields and tracebacks alike. Secrets that are settings show themselves nowhere to begin
with; this is for those that come in by other ways, as in the message of a driver that
quotes the connection string it was given.
"""

from __future__ import annotations

__all__ = ("LogFormat", "RedactingFormatter", "configure_logs")

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, TypeAlias

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.redaction import HIDDEN, is_secret_name, redacted

LogFormat: TypeAlias = Literal["json", "text"]

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FORMATS: Final = ("json", "text")
_LENGTH_MAX: Final = 16_384
# What every record has; all else was given as `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RedactingFormatter(logging.Formatter):
    """Makes a record one line without secrets.

    Args:
        form: JSON, or text for people.
        secrets: Secrets known by their values, hidden wherever they stand.
    """

    def __init__(self, form: LogFormat = "json", *, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._form = form
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._clean(_message(record)),
        }
        for name, value in vars(record).items():
            if name not in _OWN and name not in fields:
                fields[name] = HIDDEN if is_secret_name(name) else self._plain(value)
        if record.exc_info:
            fields["error"] = self._clean(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = self._clean(record.stack_info)
        return json.dumps(fields) if self._form == "json" else _text(fields)

    def _clean(self, text: str) -> str:
        if len(text) > _LENGTH_MAX:
            # Not within a word: half a connection string would not be known for one.
            text = "".join(text[:_LENGTH_MAX].rpartition(" ")[:2]) + "(cut)"
        return redacted(text, self._secrets)

    def _plain(self, value: object) -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value
        return self._clean(str(value))


def configure_logs(
    *,
    level: str = "INFO",
    form: str = "json",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> logging.Handler:
    """Send all logs of the process to a stream, and return the handler that does.

    Handlers that are there are replaced: they would show what this one hides.

    Args:
        level: The least that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        form: `json` or `text`.
        stream: Where to; standard error by default.
        secrets: Secrets known by their values, hidden wherever they stand.

    Raises:
        ConfigError: If there is no such level or form.
    """
    if level.upper() not in _LEVELS:
        msg = f"`log_level` must be one of {', '.join(_LEVELS)}, was {level!r}"
        raise ConfigError(msg, parameter="log_level")
    if form not in _FORMATS:
        msg = f"`log_format` must be json or text, was {form!r}"
        raise ConfigError(msg, parameter="log_format")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(RedactingFormatter("json" if form == "json" else "text", secrets=secrets))
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    return handler


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # Arguments that do not fit must not silence the message, nor print themselves.
        return f"{record.msg} (its arguments do not fit)"


def _text(fields: dict[str, Any]) -> str:
    shown = dict(fields)
    head = [shown.pop("time"), f"{shown.pop('level'):<8}", shown.pop("logger") + ":"]
    trace = [shown.pop(name) for name in ("error", "stack") if name in shown]
    # A line break in a message could forge a line.
    words = [*head, _one_line(shown.pop("message"))]
    words += [f"{name}={_one_line(str(value))}" for name, value in shown.items()]
    return "\n".join([" ".join(words), *("  " + text.replace("\n", "\n  ") for text in trace)])


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
