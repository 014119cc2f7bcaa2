"""The spec of version 0.8 and its JSON Schema say the same."""

from __future__ import annotations

import jsonschema
import pytest

from market_data_pipeline.config import PipelineSettings
from market_data_pipeline.errors import ConfigurationError
from market_data_pipeline.pipeline_spec import (
    DROP_POLICIES,
    SINKS,
    PipelineOverrides,
    PipelineSpec,
    spec_schema,
)

VALID = {
    "tenant_id": "acme",
    "pipeline_id": "p",
    "source": "synthetic",
    "symbols": ["SPY"],
    "duration_sec": None,
    "sink": "database",
    "overrides": {"drop_policy": "block"},
}


def test_schema_and_builder_have_one_list_of_words() -> None:
    """The schema of a spec file allows what the builder does."""
    schema = spec_schema()
    jsonschema.validate(VALID, schema)
    assert schema["properties"]["sink"]["enum"] == list(SINKS)
    overrides = schema["properties"]["overrides"]["properties"]
    assert len(overrides) == 21
    for policy in DROP_POLICIES:
        assert PipelineSettings(drop_policy=policy).drop_policy == policy  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"sinks": "x"}, {"duration_sec": -1}, {"sink": "x"}, {"overrides": {"x": 1}}]
)
def test_schema_refuses_what_is_no_spec(wrong: dict[str, object]) -> None:
    """Also properties that there are not."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(VALID | wrong, spec_schema())


def test_mapping_becomes_a_spec() -> None:
    """With overrides; what is missing or unknown is named."""
    made = PipelineSpec.of(VALID)
    assert made.overrides == PipelineOverrides(drop_policy="block")
    assert PipelineSpec.of(made) is made
    assert made.key == "acme:p"
    for name in ("tenant_id", "pipeline_id", "source"):
        with pytest.raises(ConfigurationError, match=name):
            PipelineSpec.of({key: value for key, value in VALID.items() if key != name})
    with pytest.raises(ConfigurationError, match="did you mean `sink`"):
        PipelineSpec.of(VALID | {"sinks": "x"})
