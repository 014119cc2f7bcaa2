"""Secrets are found by where they stand, and by their values where those are known."""

from __future__ import annotations

from time import perf_counter

import pytest

from market_data_pipeline.redaction import redacted


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach postgresql://mdp:hunter2@db:5432/ticks",
        "cannot reach postgresql://mdp:hunter2/x@y@db:5432/ticks?sslmode=require",
        "redis://:hunter2@cache/0",
        "host=db user=mdp password=hunter2 dbname=ticks",
        "host=db password='hunter2 and more' user=mdp",
        '{"api_key": "hunter2", "symbol": "EURUSD"}',
        "{'sasl.password': 'hunter2'}",
        "Authorization: Bearer hunter2.abc-def",
        "MDP_HTTP_TOKEN=hunter2",
        "GET /jobs?token=hunter2&key=a",
        "PGPASSWORD: hunter2",
    ],
)
def test_secret_is_hidden_where_it_stands(text: str) -> None:
    """URLs, connection strings, mappings and headers lose what is secret in them."""
    shown = redacted(text)
    assert "hunter2" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "`rows` must be positive, was 0",
        "read 12 rows from data/ticks.csv:7",
        "postgresql://mdp@db:5432/ticks",
        "https://example.com/a:b?c=d",
        "the token bucket is empty",
    ],
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    """What only looks a little like a secret can still be read."""
    assert redacted(text) == text


def test_known_secret_is_hidden_wherever_it_stands() -> None:
    """A secret that is known by its value needs no mark around it."""
    assert redacted("was 'hunter2'", ["hunter2", "", "a"]) == "was '***'"


def test_rest_of_the_url_stays() -> None:
    """Whom it failed to reach must still be told."""
    assert redacted("postgresql://mdp:s@db:5432/t") == "postgresql://mdp:***@db:5432/t"


def test_hostile_text_takes_no_long_time() -> None:
    """A megabyte of what could become a secret is read in one go."""
    for part in ("x", "a.", "a://", "password", "password=", "x:y@", "'"):
        text = part * (500_000 // len(part))
        began = perf_counter()
        redacted(text)
        assert perf_counter() - began < 5, part
