"""Spec files of version 0.8, in JSON or YAML."""

from __future__ import annotations

__all__ = ("pipeline_in", "read_spec")

from pathlib import Path
from typing import TYPE_CHECKING, Any

from market_data_pipeline.errors import ConfigError, MissingInputError, SpecError
from market_data_pipeline.spec.yaml_text import MAX_BYTES, parse_yaml

if TYPE_CHECKING:
    from market_data_pipeline.pipeline import StreamingPipeline
    from market_data_pipeline.pipeline_spec import PipelineSpec


def pipeline_in(file: Path) -> StreamingPipeline | None:
    """Return the pipeline of a spec file; None if it is a graph, or nothing that can be told.

    Raises:
        ConfigError: If it is a spec that cannot run.
    """
    try:
        found = _plain(file)
    except (SpecError, MissingInputError, ConfigError):
        return None  # whoever reads graphs says what is wrong with it
    from market_data_pipeline.pipeline_spec import is_spec

    if not is_spec(found):
        return None
    from market_data_pipeline.pipeline_builder import PipelineBuilder

    pipeline: StreamingPipeline = PipelineBuilder().build(found)
    return pipeline


def read_spec(file: Path) -> PipelineSpec:
    """Return the spec in a file.

    Raises:
        MissingInputError: If there is no such file.
        ConfigError: If it holds no spec.
    """
    from market_data_pipeline.pipeline_spec import PipelineSpec

    found = _plain(file)
    if not isinstance(found, dict):
        msg = f"{file}: a spec is a mapping, was a {type(found).__name__}"
        raise ConfigError(msg)
    return PipelineSpec.of(found)


def _plain(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        msg = "there is no such file"
        raise MissingInputError(msg, place=str(file)) from None
    except OSError as err:
        msg = f"{file}: cannot be read: {err.strerror}"
        raise ConfigError(msg) from err
    return parse_yaml(data, str(file)).plain()
