"""What a pipeline of version 0.8 is to be, as data, and the words that may stand in it."""

from __future__ import annotations

__all__ = (
    "DROP_POLICIES",
    "OPERATORS",
    "SINKS",
    "SOURCES",
    "PipelineOverrides",
    "PipelineSpec",
    "is_spec",
    "spec_schema",
)

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from market_data_pipeline.config import DropPolicyName
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.sink.database import DatabaseSinkSettings

SOURCES: Final = ("synthetic", "replay", "ibkr")
OPERATORS: Final = ("bars", "options")
SINKS: Final = ("store", "kafka", "database")
DROP_POLICIES: Final[tuple[str, ...]] = typing.get_args(DropPolicyName)

_OBJECTS: Final = ("database_settings", "database_processor")
_JSON_TYPES: Final = {int: "integer", float: "number", str: "string"}


@dataclass
class PipelineOverrides:
    """Settings of one pipeline that win over those of the process; a 0 counts as given.

    Attributes:
        ticks_per_sec: Ticks a synthetic source makes in a second.
        pacing_max_per_sec: Messages a source may take in a second.
        pacing_burst: Messages it may take at once.
        replay_path: File to replay.
        replay_speed: Seconds of event time in one second; 0 for as fast as can be.
        bar_window_sec: Seconds a bar covers.
        bar_allowed_lateness_sec: Seconds past its end in which a bar takes rows.
        batch_size: Bars in one write.
        max_bytes: Bytes of bars in one write.
        flush_ms: Milliseconds after which fewer are written too.
        op_queue_max: Bars that may wait to be gathered.
        drop_policy: What a full queue does.
        sink_workers: Writes under way at once.
        sink_queue_max: Writes that may wait.
        kafka_bootstrap: Brokers, as `host:port,host:port`.
        kafka_topic: Topic to write to.
        database_vendor: Vendor written to each row.
        database_timeframe: Timeframe written to each row.
        database_retry_max_attempts: Tries of one write.
        database_retry_backoff_ms: Milliseconds before the second try.
        database_url: Where the database is; it is not shown.
        database_settings: All settings of the database sink at once.
        database_processor: What writes to the database.
    """

    ticks_per_sec: float | None = None
    pacing_max_per_sec: float | None = None
    pacing_burst: float | None = None
    replay_path: str | None = None
    replay_speed: float | None = None
    bar_window_sec: float | None = None
    bar_allowed_lateness_sec: float | None = None
    batch_size: int | None = None
    max_bytes: int | None = None
    flush_ms: float | None = None
    op_queue_max: int | None = None
    drop_policy: str | None = None
    sink_workers: int | None = None
    sink_queue_max: int | None = None
    kafka_bootstrap: str | None = None
    kafka_topic: str | None = None
    database_vendor: str | None = None
    database_timeframe: str | None = None
    database_retry_max_attempts: int | None = None
    database_retry_backoff_ms: int | None = None
    database_url: str | None = field(default=None, repr=False)
    database_settings: DatabaseSinkSettings | None = None
    database_processor: Any | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any] | PipelineOverrides | None) -> PipelineOverrides:
        """Return overrides given as a mapping, or as they are.

        Raises:
            ConfigError: If the mapping names one that there is not.
        """
        if isinstance(given, PipelineOverrides):
            return given
        return cls(**_checked(given or {}, [f.name for f in dataclasses.fields(cls)], "override"))


@dataclass(init=False)
class PipelineSpec:
    """A pipeline in a few words. It may hold anything: whoever builds it checks it.

    Attributes:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        source: Where quotes come from.
        symbols: What they are about.
        duration_sec: Seconds after which it stops, None to run to the end.
        operator: What is made of them.
        sink: Where that goes.
        overrides: Settings of its own.
    """

    tenant_id: str
    pipeline_id: str
    source: str
    symbols: list[str] = field(default_factory=list)
    duration_sec: float | None = None
    operator: str = "bars"
    sink: str = "store"
    overrides: PipelineOverrides = field(default_factory=PipelineOverrides)

    def __init__(
        self,
        tenant_id: str,
        pipeline_id: str,
        source: str | None = None,
        symbols: Sequence[str] | None = None,
        duration_sec: float | None = None,
        operator: str = "bars",
        sink: str = "store",
        overrides: PipelineOverrides | None = None,
        *,
        source_type: str | None = None,
        operator_type: str | None = None,
        sink_type: str | None = None,
        rate: float | None = None,
        replay_path: str | None = None,
        duration: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Take down a pipeline; the last arguments are how the service of 0.8 says the same.

        Args:
            tenant_id: Who owns it.
            pipeline_id: Its name.
            source: Where quotes come from.
            symbols: What they are about; None for nothing.
            duration_sec: Seconds after which it stops, None to run to the end.
            operator: What is made of them.
            sink: Where that goes.
            overrides: Settings of its own.
            source_type: `source`.
            operator_type: `operator`.
            sink_type: `sink`.
            rate: `ticks_per_sec` of the overrides.
            replay_path: `replay_path` of the overrides.
            duration: `duration_sec`.
            extra: Further overrides.

        Raises:
            TypeError: If `source` is missing.
            ConfigError: If `extra` names an override that there is not.
        """
        source = source_type if source is None else source
        if source is None:
            msg = "a `PipelineSpec` needs `source`"
            raise TypeError(msg)
        self.tenant_id = tenant_id
        self.pipeline_id = pipeline_id
        self.source = source
        self.symbols = symbols if isinstance(symbols, list) else list(symbols or ())
        self.duration_sec = duration if duration_sec is None else duration_sec
        self.operator = operator if operator_type is None else operator_type
        self.sink = sink if sink_type is None else sink_type
        self.overrides = PipelineOverrides() if overrides is None else overrides
        more = {"ticks_per_sec": rate, "replay_path": replay_path, **(extra or {})}
        more = {name: value for name, value in more.items() if value is not None}
        if more:
            PipelineOverrides.of(more)
            self.overrides = dataclasses.replace(self.overrides, **more)

    @property
    def source_type(self) -> str:
        """`source`."""
        return self.source

    @property
    def operator_type(self) -> str:
        """`operator`."""
        return self.operator

    @property
    def sink_type(self) -> str:
        """`sink`."""
        return self.sink

    @property
    def rate(self) -> float | None:
        """`ticks_per_sec` of the overrides."""
        return self.overrides.ticks_per_sec

    @property
    def key(self) -> str:
        """Tenant and pipeline, which no other pipeline has."""
        return f"{self.tenant_id}:{self.pipeline_id}"

    @classmethod
    def of(cls, given: Mapping[str, Any] | PipelineSpec) -> PipelineSpec:
        """Return a spec given as a mapping, as from a file, or as it is.

        Raises:
            ConfigError: If the mapping lacks what a spec needs, or names what it has not.
        """
        if isinstance(given, PipelineSpec):
            return given
        known = [f.name for f in dataclasses.fields(cls)]
        known += ["source_type", "operator_type", "sink_type", "rate", "replay_path"]
        known += ["duration", "extra"]
        values = _checked(given, known, "property of a pipeline")
        for name in ("tenant_id", "pipeline_id"):
            if name not in values:
                msg = f"a pipeline needs the property `{name}`"
                raise ConfigError(msg, parameter=name)
        if not {"source", "source_type"} & values.keys():
            msg = f"a pipeline needs the property `source`, one of {', '.join(SOURCES)}"
            raise ConfigError(msg, parameter="source")
        values["overrides"] = PipelineOverrides.of(values.get("overrides"))
        return cls(**values)


def is_spec(content: object) -> bool:
    """Tell whether the content of a file is a spec, and not a graph."""
    if not isinstance(content, Mapping) or "nodes" in content:
        return False
    return "tenant_id" in content or "pipeline_id" in content


def spec_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file."""
    scalars = {
        f.name: _property(f.name, typing.get_type_hints(PipelineOverrides)[f.name])
        for f in dataclasses.fields(PipelineOverrides)
        if f.name not in _OBJECTS
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of version 0.8",
        "type": "object",
        "additionalProperties": False,
        "required": ["tenant_id", "pipeline_id", "source"],
        "properties": {
            "tenant_id": {"type": "string", "minLength": 1},
            "pipeline_id": {"type": "string", "minLength": 1},
            "source": {"enum": list(SOURCES)},
            "symbols": {"type": "array", "items": {"type": "string", "minLength": 1}},
            "duration_sec": {"type": ["number", "null"], "minimum": 0},
            "operator": {"enum": list(OPERATORS)},
            "sink": {"enum": list(SINKS)},
            "overrides": {
                "type": "object",
                "additionalProperties": False,
                "properties": scalars,
            },
        },
    }


def _property(name: str, hint: Any) -> dict[str, Any]:
    if name == "drop_policy":
        return {"enum": [*DROP_POLICIES, None]}
    kinds = [part for part in typing.get_args(hint) if part is not types.NoneType]
    found: dict[str, Any] = {"type": [*(_JSON_TYPES[kind] for kind in kinds), "null"]}
    if str not in kinds:
        found["minimum"] = 0
    return found


def _checked(given: Mapping[str, Any], known: Sequence[str], what: str) -> dict[str, Any]:
    for name in given:
        if name not in known:
            msg = f"there is no {what} `{name}`{nearest(str(name), known)}"
            raise ConfigError(msg, parameter=str(name))
    return dict(given)
