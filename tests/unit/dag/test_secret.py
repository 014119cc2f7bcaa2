"""Settings that nobody may see."""

from __future__ import annotations

import pickle
import traceback

import pytest

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.secret import Secret, SecretText
from market_data_pipeline.errors import ConfigError


@component("keeper")
class _Keeper:
    """Holds one.

    Attributes:
        password: What nobody may see.
    """

    password: SecretText = Secret("")


def test_secret_is_in_no_text() -> None:
    """Neither the component nor the setting shows it, whichever way it is made text."""
    keeper = _Keeper("hunter2")
    shown = f"{keeper} {keeper!r} {keeper.password} {keeper.password!r} %s" % keeper.password
    assert "hunter2" not in shown
    assert isinstance(keeper.password, Secret)
    assert keeper.password.reveal() == "hunter2"


@pytest.mark.parametrize("given", [{"url": "hunter2"}, ["hunter2"], b"hunter2", 12])
def test_wrong_type_is_refused_without_saying_what_it_was(given: object) -> None:
    """It may be the secret in another form."""
    with pytest.raises(ConfigError, match=r"`password` of `keeper`.*valid string") as found:
        _Keeper(given)  # type: ignore[arg-type]
    assert "hunter2" not in "".join(traceback.format_exception(found.value))


def test_reference_is_shown_and_looked_up_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${env:NAME}` is no secret itself; what it stands for may change until it is used."""
    secret = Secret("${env:MDP_TEST_PASSWORD}")
    assert str(secret) == secret.reference == "${env:MDP_TEST_PASSWORD}"
    with pytest.raises(ConfigError, match="`MDP_TEST_PASSWORD` is not set"):
        secret.reveal()
    monkeypatch.setenv("MDP_TEST_PASSWORD", "hunter2")
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in repr(secret)


@pytest.mark.parametrize("text", ["${env:}", "x${env:A}", "${env:A}\n", "${ENV:A}", "${env:A-B}"])
def test_what_only_looks_like_a_reference_is_the_text(text: str) -> None:
    """The whole text is a reference or none of it."""
    assert Secret(text).reference is None
    assert Secret(text).reveal() == text


def test_secret_is_not_pickled() -> None:
    """A pickle is a file with the secret in it."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))


def test_equal_secrets_are_equal_settings() -> None:
    """Components are compared by their settings."""
    assert _Keeper("a") == _Keeper("a") != _Keeper("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")
