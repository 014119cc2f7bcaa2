"""What the Python door says to somebody who types it for the first time."""

from __future__ import annotations

from pathlib import Path

import pytest

import market_data_pipeline as mdp


def test_setting_given_by_position_is_named_in_the_error() -> None:
    """An error speaks of `every`, also where its name was not written."""
    with pytest.raises(
        mdp.ConfigError, match="`every` of `bars`: `1x` counts `x`, which no bar does"
    ) as err:
        mdp.Bars("1x")
    assert err.value.parameter == "every"


def test_setting_inside_a_list_is_named_with_its_place() -> None:
    """Numbers further inside stay numbers."""
    with pytest.raises(mdp.ConfigError, match=r"`columns\.1` of `select`"):
        mdp.Select(["price", 2])  # type: ignore[list-item]


def test_one_name_is_not_taken_for_its_letters() -> None:
    """Where names are listed, a single one may stand for itself."""
    stream = mdp.Dag().source(mdp.SyntheticSource(rows=1))
    deduped = stream.dedupe("trade_id").node.component
    selected = stream.select("ts_event").node.component
    assert isinstance(deduped, mdp.Dedupe)
    assert isinstance(selected, mdp.Select)
    assert list(deduped.key) == ["trade_id"]
    assert selected.columns == ["ts_event"]


def test_failed_run_is_no_consequence_of_there_being_no_loop(tmp_path: Path) -> None:
    """A traceback begins with what went wrong."""
    dag = mdp.Dag()
    dag.source(mdp.ReplaySource(tmp_path / "nothing.csv")).collect()
    with pytest.raises(mdp.InputError, match="no such file") as err:
        mdp.run(dag)
    assert err.value.__context__ is None
