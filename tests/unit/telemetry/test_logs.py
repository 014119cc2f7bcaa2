"""Logs say what happened, in one form, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.telemetry.logs import configure_logs

_CANARY = "c4nary-hunter2"
_log = logging.getLogger("market_data_pipeline.test")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where logs go in a test; what was before is put back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_line_holds_what_was_logged(out: io.StringIO) -> None:
    """Each record is one object on one line, with its extra fields."""
    configure_logs(stream=out)
    _log.info("%s rows\nread", 12, extra={"pipeline": "eurusd", "rows": 12})
    (line,) = _lines(out)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "market_data_pipeline.test",
        "message": "12 rows\nread",
        "pipeline": "eurusd",
        "rows": 12,
    }


def test_text_line_cannot_be_forged(out: io.StringIO) -> None:
    """A line break or a terminal's control codes in a message stay within its line."""
    configure_logs(stream=out, form="text")
    _log.warning("name\n2024-01-01 INFO forged\x1b[2J", extra={"key": "a\nb"})
    (line,) = out.getvalue().splitlines()
    assert line.endswith(
        "WARNING  market_data_pipeline.test: name\\n2024-01-01 INFO forged\\x1b[2J key=a\\nb"
    )


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_comes_out_by_any_way(out: io.StringIO, form: str) -> None:
    """Message, arguments, extras, tracebacks, causes, notes and warnings are all clean."""
    configure_logs(stream=out, form=form, level="DEBUG", secrets=["by-value-4711"])
    dsn = f"postgresql://mdp:{_CANARY}@db:5432/ticks"
    _log.debug("connecting to %s", dsn)
    _log.info("connecting to %s", dsn, extra={"dsn": dsn, "api_token": _CANARY})
    _log.info({"password": _CANARY})
    _log.info("settings %r", {"sasl.password": _CANARY, "rows": 1})
    _log.info("header Authorization: Bearer %s", _CANARY)
    _log.info("given %s and %s", SecretStr(_CANARY), Secret(_CANARY))
    _log.info("known by its value: by-value-4711")
    _log.info("does not fit %s %s", f"password={_CANARY}")
    try:
        try:
            msg = f"cannot reach host=db password={_CANARY} user=mdp"
            raise OSError(msg)  # noqa: TRY301
        except OSError as err:
            err.add_note(f"token={_CANARY}")
            msg = f"failed: {dsn}"
            raise RuntimeError(msg) from err
    except RuntimeError:
        _log.exception("failed", stack_info=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"deprecated: {dsn}", stacklevel=1)
    shown = out.getvalue()
    assert "failed" in shown
    assert "deprecated" in shown
    assert "does not fit" in shown
    assert _CANARY not in shown
    assert "by-value-4711" not in shown


def test_level_is_honoured(out: io.StringIO) -> None:
    """What is below the level is not logged."""
    configure_logs(stream=out, level="warning")
    _log.info("no")
    _log.error("yes")
    assert [line["message"] for line in _lines(out)] == ["yes"]


def test_other_handlers_are_replaced(out: io.StringIO) -> None:
    """A handler that was there would show what this one hides."""
    other = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(other))
    configure_logs(stream=out)
    _log.error("password=%s", _CANARY)
    assert not other.getvalue()


@pytest.mark.parametrize(("setting", "value"), [("level", "LOUD"), ("form", "xml")])
def test_unknown_setting_is_refused(setting: str, value: str) -> None:
    """The message says what there is."""
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigError, match="must be"):
        configure_logs(**settings)


def test_long_message_is_cut(out: io.StringIO) -> None:
    """One record cannot fill the disk, nor hold up the redaction."""
    configure_logs(stream=out)
    _log.info("x" * 10**6)
    _log.info("x " * 8_185 + f"postgresql://mdp:{_CANARY}@db/ticks")
    assert len(out.getvalue()) < 40_000
    assert "c4nary" not in out.getvalue()
