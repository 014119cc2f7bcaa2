"""Pipelines by `tenant:pipeline`, where version 0.8 has them."""

from __future__ import annotations

__all__ = ("PipelineService", "PipelineSpec")

from collections.abc import Mapping, Sequence
from typing import Any

from market_data_pipeline import pipeline_spec
from market_data_pipeline.orchestration.service import PipelineService


class PipelineSpec(pipeline_spec.PipelineSpec):
    """The one spec, with its arguments in the order in which the service of 0.8 takes them."""

    def __init__(
        self,
        tenant_id: str,
        pipeline_id: str,
        source_type: str | None = None,
        symbols: Sequence[str] = (),
        rate: float | None = None,
        replay_path: str | None = None,
        duration_sec: float | None = None,
        operator_type: str = "bars",
        sink_type: str = "store",
        extra: Mapping[str, Any] | None = None,
        **words: Any,
    ) -> None:
        """Take down a pipeline.

        Args:
            tenant_id: Who owns it.
            pipeline_id: Its name.
            source_type: `source`.
            symbols: What it is about.
            rate: `ticks_per_sec` of the overrides.
            replay_path: `replay_path` of the overrides.
            duration_sec: Seconds after which it stops, None to run to the end.
            operator_type: `operator`.
            sink_type: `sink`.
            extra: Further overrides.
            **words: `source`, `operator`, `sink` and `overrides`, as they are elsewhere.

        Raises:
            TypeError: If the source is missing, or `words` has another word.
            ConfigError: If `extra` names an override that there is not.
        """
        super().__init__(
            tenant_id,
            pipeline_id,
            symbols=symbols,
            duration_sec=duration_sec,
            rate=rate,
            replay_path=replay_path,
            extra=extra,
            **{"source": source_type, "operator": operator_type, "sink": sink_type, **words},
        )
