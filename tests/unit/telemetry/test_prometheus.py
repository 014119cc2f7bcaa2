"""What Prometheus is told of running pipelines."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import market_data_pipeline as mdp
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import NodeError
from market_data_pipeline.telemetry.metric import Metric, per_node
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.metrics_0_8 import METRICS_0_8
from market_data_pipeline.telemetry.prometheus import exposition, observe
from market_data_pipeline.telemetry.readings import Observer
from support.nodes import UNIT, RecordingSink, ScriptedSource

_LABELS = {"pipeline", "node", "edge", "reason", "le"}


def _second(*seconds: int) -> list[int]:
    return [second * UNIT for second in seconds]


def _run(name: str = "eurusd", *items: Any, **nodes: str) -> Run:
    dag = mdp.Dag(name)
    ticks = dag.source(
        ScriptedSource(items or [_second(1, 2, 3)]), name=nodes.get("source", "ticks")
    )
    ticks.bars("1s", name="bars").batch(name="gather").sink(RecordingSink([]), name="store")
    return Run(dag)


def _values(registry: CollectorRegistry) -> dict[str, list[tuple[dict[str, str], float]]]:
    values: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(exposition(registry).decode()):
        for sample in family.samples:
            values.setdefault(sample.name, []).append((sample.labels, sample.value))
    return values


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = [
        value
        for known, value in _values(registry)[name]
        if all(known.get(label) == text for label, text in labels.items())
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_metrics_say_what_the_ledger_says() -> None:
    """Rows of every node are those of the account, under both names."""
    registry = CollectorRegistry()
    run = _run()
    with observe(run, registry=registry):
        result = asyncio.run(run.run())
        for name in ("ticks", "bars", "gather", "store"):
            account = result.ledger[name]
            assert _value(registry, "mdp_node_rows_in_total", node=name) == account.rows_in
            assert _value(registry, "mdp_node_rows_out_total", node=name) == account.rows_out
        aggregated = _value(
            registry, "mdp_node_rows_ended_total", node="bars", reason="aggregated"
        )
        assert aggregated == result.ledger.total("aggregated")
        assert _value(registry, "source_ticks_total", pipeline="eurusd") == 3
        assert _value(registry, "operator_bars_generated_total", node="bars") == 3
        assert _value(registry, "batcher_items_added_total", node="gather") == 3
        assert _value(registry, "sink_items_written_total", node="store") == 3
        assert _value(registry, "mdp_pipeline_up") == 0
        assert _value(registry, "mdp_pipeline_state") == 3


def test_run_that_has_not_begun_is_shown_as_starting() -> None:
    """Nothing is asked of nodes that are not open."""
    registry = CollectorRegistry()
    with observe(_run(), registry=registry):
        assert _value(registry, "mdp_pipeline_up") == 1
        assert _value(registry, "mdp_pipeline_state") == 0
        assert _value(registry, "mdp_node_state", node="bars") == 0


def test_failed_node_is_seen() -> None:
    """The node at fault, the pipeline, and the names of version 0.8 tell of a failure."""
    registry = CollectorRegistry()
    run = _run("eurusd", OSError("password=hunter2"))
    with observe(run, registry=registry):
        with pytest.raises(NodeError):
            asyncio.run(run.run())
        assert _value(registry, "mdp_pipeline_state") == 5
        assert _value(registry, "mdp_node_state", node="ticks") == 4
        assert _value(registry, "pipeline_health") == 0
        assert b"hunter2" not in exposition(registry)


def test_hostile_names_cannot_forge_metrics() -> None:
    """Quotes, line breaks and broken text in names are data, not exposition."""
    name = 'x"} 1\nmdp_pipeline_up{pipeline="forged'
    registry = CollectorRegistry()
    with observe(_run(name), registry=registry):
        (labels, _), *others = _values(registry)["mdp_pipeline_up"]
        assert labels == {"pipeline": name}
        assert not others


def test_names_that_cannot_be_sent_are_replaced() -> None:
    """Half of a surrogate pair must not make the whole page fail; long names are cut."""
    registry = CollectorRegistry()
    with observe(_run("a\ud800" + "b" * 500), registry=registry):
        (labels, _), *_ = _values(registry)["mdp_pipeline_up"]
        assert labels["pipeline"].startswith("a?b")
        assert len(labels["pipeline"]) == 200


def test_only_few_labels_are_used() -> None:
    """No label may have as many values as there are symbols."""
    registry = CollectorRegistry()
    run = _run()
    with observe(run, registry=registry):
        asyncio.run(run.run())
        for name, samples in _values(registry).items():
            assert all(set(labels) <= _LABELS for labels, _ in samples), name


def test_reasons_that_never_end_are_summed_up() -> None:
    """An operator that makes up reasons cannot make up series without end."""
    run = _run()
    asyncio.run(run.run())
    registry = CollectorRegistry()
    run._parts.accounts["bars"].reasons.update({f"reason {i}": 1 for i in range(1_000)})
    with observe(run, registry=registry):
        ended = [
            (labels["reason"], value)
            for labels, value in _values(registry)["mdp_node_rows_ended_total"]
            if labels["node"] == "bars"
        ]
        assert len(ended) == 64
        assert sum(value for _, value in ended) == 1_000 + 3
        assert {"late", "dropped"} <= {reason for reason, _ in ended}
        assert ended[-1][0] == "other"


@pytest.mark.parametrize("metric", [*METRICS, *METRICS_0_8], ids=lambda metric: metric.name)
def test_metric_is_described(metric: Metric) -> None:
    """A name is of the form Prometheus wants, and its text is a sentence."""
    assert not metric.name.endswith("_total")
    assert metric.text[0].isupper() or metric.text[0].isdigit()
    assert metric.text.endswith(".")
    assert set(metric.labels) <= _LABELS


def test_metric_names_are_used_once() -> None:
    """Two metrics of a name would be an invalid page."""
    names = [metric.name for metric in (*METRICS, *METRICS_0_8)]
    assert len(names) == len(set(names))


def test_values_that_are_no_numbers_are_left_out() -> None:
    """NaN would poison every sum it enters."""
    metric = per_node("x", "gauge", "X.", lambda _: float("nan"))
    assert not list(metric.points(Observer(_run()).look()))


def test_observers_of_a_registry_share_one_page() -> None:
    """One process has one page, whoever runs pipelines in it; names stay free afterwards."""
    registry = CollectorRegistry()
    with observe(_run("a"), registry=registry):
        with observe(_run("b"), registry=registry), observe(_run("b"), registry=registry):
            shown = [labels["pipeline"] for labels, _ in _values(registry)["mdp_pipeline_up"]]
            assert shown == ["a", "b"]
        assert len(_values(registry)["mdp_pipeline_up"]) == 1
    assert not _values(registry)
    with observe(_run("a"), registry=registry):
        assert "mdp_pipeline_up" in _values(registry)


def test_threads_may_scrape_while_it_runs() -> None:
    """A scrape in another thread sees counters that never fall, and harms nothing."""
    dag = mdp.Dag("busy")
    source = mdp.SyntheticSource(rows=400_000, batch_rows=500)
    ticks = dag.source(source, name="ticks").edge(rows=1_000, policy="drop_oldest")
    ticks.bars("1s", name="bars").sink(RecordingSink([], turns=1), name="store")
    run = Run(dag)
    registry = CollectorRegistry()
    over = threading.Event()
    seen: list[dict[tuple[str, str], float]] = []
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            while not over.is_set():
                values = _values(registry)
                seen.append(
                    {
                        (name, str(labels)): value
                        for name, samples in values.items()
                        if name.endswith(("_total", "_count", "_bucket"))
                        for labels, value in samples
                    }
                )
        except BaseException as err:  # noqa: BLE001  shown by the assertion
            failures.append(err)

    thread = threading.Thread(target=scrape)
    with observe(run, registry=registry):
        thread.start()
        try:
            result = asyncio.run(run.run())
        finally:
            over.set()
            thread.join()
    assert not failures
    assert len(seen) > 2
    for before, after in itertools.pairwise(seen):
        fallen = {key for key, value in before.items() if after.get(key, 0) < value}
        assert not fallen
    result.ledger.check()
