"""The settings of a runtime: one tree, from a file, from the environment and from code.

    PipelineRuntimeSettings              how many pipelines, circuit breakers
    ├─ pipeline: PipelineSettings        defaults of version 0.8 pipelines, `PIPELINE_...`
    ├─ providers: ProviderSettings       budget and cooldowns of each provider, by name
    └─ dag: DagRuntimeSettings           draining, how long finished runs are remembered
        └─ feedback: FeedbackSettings    the loop from the store back to the provider

What is given later wins: the defaults here, then a YAML or JSON file, then the environment,
then what code says. In the environment a setting is `MDP_` and its path, in capitals, with
two underscores between the levels: `MDP_MAX_CONCURRENT_PIPELINES=4`,
`MDP_DAG__FEEDBACK__SOFT_AT=0.6`, `MDP_PROVIDERS__IBKR__CAPACITY=45`. An empty value, or one
that is no setting, is refused rather than passed over. Only `load` looks at a file or the
environment; `PipelineRuntimeSettings(...)` is what code says and the defaults.
"""

from __future__ import annotations

__all__ = (
    "DagRuntimeSettings",
    "FeedbackSettings",
    "PipelineRuntimeSettings",
    "ProviderSettings",
)

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.spec.yaml_text import MAX_BYTES, parse_yaml, plain_scalar

_PREFIX: Final = "MDP_"
_BETWEEN: Final = "__"

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=86_400 * 366)]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=1e12)]

M = TypeVar("M", bound=BaseModel)


class _Settings(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True
    )


class ProviderSettings(_Settings):
    """How much may be asked of one provider."""

    capacity: Annotated[int, Field(ge=1)] = 60
    """Requests, or messages, that may come in one burst."""
    refill_rate: Positive = 60.0
    """Requests a second in the long run, at a budget scale of 1."""
    cooldown_sec: Seconds = 600.0
    """How long a cooldown lasts that names no time of its own."""
    cooldowns: Mapping[str, Seconds] = Field(default_factory=dict)
    """Seconds of rest by the provider's error code, such as `{"162": 60}`."""
    breaker_threshold: Annotated[int, Field(ge=1)] | None = None
    """Failures in a row that open the circuit; None for the runtime's own setting."""
    breaker_timeout: Seconds | None = None
    """Seconds until an open circuit is tried again; None for the runtime's own setting."""


class FeedbackSettings(_Settings):
    """The loop from the store back to the provider.

    A level is entered at its threshold and left only below the lower one, so a queue that
    hovers about a threshold does not make the level flap.
    """

    enabled: bool = True
    """Whether sinks slow down the sources that feed them."""
    interval_s: Positive = 0.25
    """Seconds between two looks at the sinks."""
    soft_at: Share = 0.5
    """Share of a sink's capacity at which it asks for less."""
    soft_below: Share = 0.3
    """Share below which it is at ease again."""
    hard_at: Share = 0.9
    """Share at which it asks for a pause."""
    hard_below: Share = 0.7
    """Share below which a pause is over."""
    delay_max_s: Positive = 4.0
    """Seconds a row may wait in a sink: half of it counts as half full. For sinks that tell
    how full they are; the others have a reason of their own to gather rows."""
    commit_soft_s: Positive | None = None
    """Seconds of a commit at which a sink asks for less; None to look at the queue alone."""
    increase: Annotated[float, Field(gt=0, le=1)] = 0.05
    """What is added a second while all is well, as a share of what was last too much; twice
    as much after each `settle_s`."""
    decrease: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """What the scale is multiplied by when a sink asks for less and tells not what it serves."""
    settle_s: Positive = 1.0
    """Seconds after a decrease in which its effect is waited for before the next."""
    scale_min: Annotated[float, Field(gt=0, le=1)] = 0.001
    """The lowest scale short of a pause."""
    events_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1_024
    """Most pushed events that wait; of more the oldest are forgotten, and counted."""

    @model_validator(mode="after")
    def _in_order(self) -> FeedbackSettings:
        marks = (self.soft_below, self.soft_at, self.hard_below, self.hard_at)
        below, soft, relaxed, hard = marks
        if not below < soft <= hard or not below <= relaxed < hard:
            msg = (
                "the thresholds must rise: `soft_below` < `soft_at` <= `hard_at` and "
                f"`soft_below` <= `hard_below` < `hard_at`, were {marks}"
            )
            raise ValueError(msg)
        return self


class DagRuntimeSettings(_Settings):
    """How graphs are run."""

    drain_timeout_s: Seconds = 30.0
    """Seconds a run that was told to stop may take for what it has read."""
    finished_kept: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many runs that are over are remembered, with their results."""
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings)
    """The loop from the store back to the provider."""


class _Top(_Settings):
    """What can be told in a file or by the environment; the names are the constructor's."""

    orchestration_enabled: bool = True
    max_concurrent_pipelines: Annotated[int, Field(ge=1, le=100_000)] = 10
    enable_rate_coordination: bool = True
    circuit_breaker_threshold: Annotated[int, Field(ge=1)] = 5
    circuit_breaker_timeout_sec: Seconds = 60.0
    providers: Mapping[str, ProviderSettings] = Field(default_factory=dict)
    dag: DagRuntimeSettings = Field(default_factory=DagRuntimeSettings)


class PipelineRuntimeSettings:
    """The settings of a runtime.

    Attributes:
        pipeline: Defaults of version 0.8 pipelines; None for those of the environment.
        orchestration_enabled: Whether providers are coordinated at all.
        max_concurrent_pipelines: Most pipelines that run at once; one more is refused.
        enable_rate_coordination: Whether sources draw on the budget of their provider.
        circuit_breaker_threshold: Failures in a row that open a provider's circuit.
        circuit_breaker_timeout_sec: Seconds until an open circuit is tried again.
        providers: The budget of each provider, by name, as it was given; see `budgets`.
        dag: How graphs are run.
    """

    def __init__(
        self,
        pipeline: Any = None,
        orchestration_enabled: bool = True,  # noqa: FBT001, FBT002 - as in version 0.8
        max_concurrent_pipelines: int = 10,
        enable_rate_coordination: bool = True,  # noqa: FBT001, FBT002
        circuit_breaker_threshold: int = 5,
        circuit_breaker_timeout_sec: float = 60.0,
        providers: Mapping[str, ProviderSettings | Mapping[str, Any]] | None = None,
        *,
        dag: DagRuntimeSettings | Mapping[str, Any] | None = None,
    ) -> None:
        """Take what code says; `providers` is looked at when a runtime is made of it.

        Raises:
            ConfigError: If a setting is not one, or out of range.
        """
        given = {
            "orchestration_enabled": orchestration_enabled,
            "max_concurrent_pipelines": max_concurrent_pipelines,
            "enable_rate_coordination": enable_rate_coordination,
            "circuit_breaker_threshold": circuit_breaker_threshold,
            "circuit_breaker_timeout_sec": circuit_breaker_timeout_sec,
            "dag": {} if dag is None else dag,
        }
        top = _checked(_Top, given)
        self.pipeline = pipeline
        self.orchestration_enabled = top.orchestration_enabled
        self.max_concurrent_pipelines = top.max_concurrent_pipelines
        self.enable_rate_coordination = top.enable_rate_coordination
        self.circuit_breaker_threshold = top.circuit_breaker_threshold
        self.circuit_breaker_timeout_sec = top.circuit_breaker_timeout_sec
        self.providers: dict[str, Any] = {} if providers is None else dict(providers)
        self.dag = top.dag

    @classmethod
    def load(
        cls,
        file: str | Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> PipelineRuntimeSettings:
        """Return the settings of a file, the environment and code; what comes later wins.

        Args:
            file: YAML or JSON with the names of this tree; None for none.
            environment: Variables such as `MDP_DAG__DRAIN_TIMEOUT_S`; None for those of
                this process.
            **settings: What code says, by the names of the constructor. A mapping for
                `dag` or `providers` changes what it names and leaves the rest.

        Raises:
            ConfigError: If the file cannot be read, or a setting is not one.
        """
        pipeline = settings.pop("pipeline", None)
        variables = os.environ if environment is None else environment
        tree: dict[str, Any] = {} if file is None else _of_file(Path(file))
        for path, value in _of_environment(variables):
            _put(tree, path, value)
        for name, value in settings.items():
            _merge(tree, name, value)
        top = _checked(_Top, tree)
        return cls(pipeline, **{name: getattr(top, name) for name in _Top.model_fields})

    def budgets(self) -> Mapping[str, ProviderSettings]:
        """Return `providers`, checked.

        Raises:
            ConfigError: If a setting is not one, or out of range.
        """
        return _checked(_Top, {"providers": self.providers}).providers

    def __repr__(self) -> str:
        names = ("pipeline", *_Top.model_fields)
        return f"PipelineRuntimeSettings({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"


def _checked(model: type[M], given: Any) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as err:
        raise _config_error(model, err) from None


def _config_error(model: type[BaseModel], err: ValidationError) -> ConfigError:
    found = err.errors(include_url=False)[0]
    path = ".".join(str(part) for part in found["loc"])
    parameter = str(found["loc"][0]) if found["loc"] else None
    if found["type"] == "extra_forbidden":
        known = _names_at(model, found["loc"][:-1])
        msg = f"there is no setting `{path}`{nearest(str(found['loc'][-1]), known)}"
        if known:
            msg += f" (settings: {', '.join(f'`{name}`' for name in known)})"
    else:
        text = found["msg"].removeprefix("Value error, ")
        msg = f"`{path}`: {text[:1].lower()}{text[1:]}"
        if not isinstance(found["input"], Mapping | BaseModel):
            msg += f", was {found['input']!r}"
    return ConfigError(msg, parameter=parameter)


def _names_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the names of the settings at a place of the tree."""
    if path[:1] == ("providers",):
        return list(ProviderSettings.model_fields)
    at: Any = model
    for part in path:
        at = at.model_fields[part].annotation
    return list(at.model_fields)


def _of_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        msg = f"the settings `{path}` cannot be read: {reason}"
        raise ConfigError(msg) from err
    root = parse_yaml(data, str(path))
    tree = root.plain()
    if not isinstance(tree, dict):
        msg = f"{path}: expected a mapping of settings, found {root.kind}"
        raise ConfigError(msg)
    return tree


def _of_environment(variables: Mapping[str, str]) -> Iterator[tuple[list[str], Any]]:
    for name, text in sorted(variables.items()):
        path = name.removeprefix(_PREFIX).lower().split(_BETWEEN)
        # Other variables of ours begin alike, as `MDP_DATA_DIR` of the tests.
        if not name.startswith(_PREFIX) or path[0] not in _Top.model_fields:
            continue
        if not text.strip():
            msg = f"the environment variable `{name}` is empty; unset it or give a value"
            raise ConfigError(msg, parameter=path[0])
        try:
            yield path, plain_scalar(text.strip())
        except ValueError as err:
            msg = f"the environment variable `{name}`: {err}"
            raise ConfigError(msg, parameter=path[0]) from err


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        below = tree.get(part)
        if not isinstance(below, dict):
            below = tree[part] = {}
        tree = below
    tree[path[-1]] = value


def _merge(tree: dict[str, Any], name: str, value: Any) -> None:
    below = tree.get(name)
    if isinstance(value, Mapping) and isinstance(below, dict):
        for key, inner in value.items():
            _merge(below, key, inner)
    elif isinstance(value, Mapping):
        tree[name] = dict(value)
    else:
        tree[name] = value
