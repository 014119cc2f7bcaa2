"""Wrong settings of the built-in components are told as such, whatever they are."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.component import default_of
from market_data_pipeline.dag.graph import Dag, Edge, input_names
from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.described import fields_of
from market_data_pipeline.spec.json_schema import pipeline_schema
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.registry import KINDS, Kind
from market_data_pipeline.spec.writer import to_dict, to_yaml
from support.examples import fewer

BUILT_IN: list[tuple[Kind, str]] = [(k, n) for k in KINDS for n in registry.built_in(k)]
VALIDATOR = jsonschema.Draft202012Validator(pipeline_schema())

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
WORDS = st.sampled_from([
    "1s", "0s", "1h", "max", "auto", "rows", "trades", "drop", "symbol", "price > 5", "x.parquet",
    "a/", "UTC", "2024-01-01", "float64", "decimal", "zstd", "append", "select", "a + b", "(",
])  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | TEXT
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(WORDS | TEXT, SCALARS, max_size=3)
)


@st.composite
def some_settings(draw: st.DrawFn, cls: type[Any]) -> dict[str, Any]:
    """Any values for the settings that must be given and for up to two others."""
    fields = fields_of(cls)
    needed = [name for name, field in fields.items() if default_of(field) is MISSING]
    others = draw(st.lists(st.sampled_from(list(fields) or ["nothing"]), max_size=2))
    return {name: draw(VALUES) for name in dict.fromkeys([*needed, *others])}


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
@given(data=st.data())
@fewer(6)
def test_any_settings_make_a_component_that_can_be_written_or_a_config_error(
    kind: Kind, name: str, data: st.DataObject
) -> None:
    """What can be made reads back as the same from its YAML, and the schema takes it.

    But for a secret, which is not written down.
    """
    cls = registry.find(kind, name)
    given_settings = data.draw(some_settings(cls))
    dag = Dag("p")
    try:
        component = cls(**given_settings)
    except ConfigError:
        return
    dag.add(registry.find("source", "synthetic")(), name="feed")
    dag.add(registry.find("source", "synthetic")(), name="other")
    names = input_names(component)
    edges = [Edge(feed, into=into) for feed, into in zip(("feed", "other"), names, strict=False)]
    dag.add(component, name="n", inputs=[] if kind == "source" else edges or [Edge("feed")])
    secrets = [value for value in vars(component).values() if isinstance(value, Secret)]
    if any(secret and secret.reference is None for secret in secrets):
        with pytest.raises(ConfigError, match="holds a secret"):
            to_yaml(dag)
        return
    text = to_yaml(dag)
    again = load_text(text, check=False)
    assert to_yaml(again) == text
    assert [error.message for error in VALIDATOR.iter_errors(to_dict(dag))] == []
