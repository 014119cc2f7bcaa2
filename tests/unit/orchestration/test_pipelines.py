from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline import pipeline_builder
from market_data_pipeline.errors import ConfigError, JobError, UnknownJobError
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.runners.service import PipelineService, PipelineSpec

SPEC: dict[str, Any] = {
    "tenant_id": "acme",
    "pipeline_id": "bars",
    "source": "synthetic",
    "symbols": ["AAPL", "MSFT"],
    "duration_sec": 0.6,
    "sink": "database",
    "overrides": {"ticks_per_sec": 200},
}


class Processor:
    """A database in memory."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    async def upsert_bars(self, rows: list[Any]) -> int:
        self.rows += rows
        return len(rows)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    """The database that every pipeline made here writes to."""
    found = Processor()
    original = pipeline_builder.PipelineBuilder.build

    def build(self: Any, spec: Any) -> Any:
        made = PipelineSpec.of(spec)
        made.overrides.database_processor = found
        return original(self, made)

    monkeypatch.setattr(pipeline_builder.PipelineBuilder, "build", build)
    return found


@pytest.mark.parametrize("form", ["object", "mapping", "json", "yaml"])
def test_spec_runs_in_any_form(form: str, processor: Processor, tmp_path: Path) -> None:
    """A spec object, a mapping, and a file in JSON or YAML are one pipeline."""
    job: Any = {"object": PipelineSpec.of(SPEC), "mapping": SPEC}.get(form)
    if job is None:
        job = tmp_path / f"spec.{form}"
        # JSON is YAML; written without braces it is not JSON.
        text = json.dumps(SPEC)
        if form == "yaml":
            text = "\n".join(f"{name}: {json.dumps(value)}" for name, value in SPEC.items())
        job.write_text(text)

    async def scenario() -> None:
        async with asyncio.timeout(20), PipelineRuntime() as runtime:
            key = await runtime.run_pipeline(job)
            assert key == "acme:bars"
            result = await runtime.wait(key)
            assert runtime.status(key).kind == "pipeline"
            assert runtime.status(key).state == "finished"
            assert result.ledger["source"].rows_out > 50

    asyncio.run(scenario())
    assert {row["symbol"] for row in processor.rows} == {"AAPL", "MSFT"}


def test_service_is_a_second_door_to_the_runtime(processor: Processor) -> None:
    """What one of them starts the other one lists, and can stop."""

    async def scenario() -> None:
        async with asyncio.timeout(20), PipelineRuntime() as runtime:
            service = runtime.service
            key = await service.create_pipeline(PipelineSpec.of({**SPEC, "duration_sec": None}))
            assert await runtime.list_pipelines() == await service.list_pipelines() == [key]
            status = await service.get_pipeline_status(key)
            assert status["running"] is True
            assert (status["tenant_id"], status["pipeline_id"]) == ("acme", "bars")
            assert (status["source"], status["operator"], status["sink"]) == (
                "synthetic",
                "bars",
                "database",
            )
            assert status["symbols"] == ["AAPL", "MSFT"]
            await service.delete_pipeline(key)
            assert service.pipelines == {}
            with pytest.raises(UnknownJobError):
                await service.get_pipeline_status(key)

    asyncio.run(scenario())
    assert {row["symbol"] for row in processor.rows} <= {"AAPL", "MSFT"}


def test_service_alone_takes_pipelines_once_started(processor: Processor) -> None:
    """It has pipelines of its own, and stops them at its end."""

    async def scenario() -> None:
        service = PipelineService()
        with pytest.raises(JobError, match="call `start` first"):
            await service.create_pipeline(PipelineSpec.of(SPEC))
        async with asyncio.timeout(20):
            await service.start()
            assert service.running
            await service.create_pipeline(PipelineSpec.of({**SPEC, "duration_sec": None}))
            await service.stop()
        assert [status.state for status in service.pipelines.values()] == ["stopped"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenant_id": "../x"}, "`tenant_id` must be 1 to 128 letters"),
        ({"pipeline_id": "a:b"}, "`pipeline_id` must hold no colon"),
        ({"duration_sec": -1}, "`duration_sec` must be 0 or more"),
        ({"sourc": "x"}, "did you mean `source`"),
        ({"overrides": {"batchsize": 1}}, "did you mean `batch_size`"),
    ],
)
def test_spec_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    """Hostile names and typing errors are told before anything is made."""

    async def scenario() -> None:
        async with PipelineRuntime() as runtime:
            with pytest.raises(ConfigError, match=message):
                await runtime.run_pipeline({**SPEC, **change})

    asyncio.run(scenario())
