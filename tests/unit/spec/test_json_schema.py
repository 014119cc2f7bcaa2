"""The JSON Schema of the pipeline file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from market_data_pipeline.spec import registry
from market_data_pipeline.spec.described import describe
from market_data_pipeline.spec.json_schema import pipeline_schema, pipeline_schema_text
from market_data_pipeline.spec.registry import KINDS

REPOSITORY = Path(__file__).parents[3]

GOOD = """\
name: eurusd-bars
nodes:
  ticks: {source: replay, path: "data/*.parquet", speed: max, out_of_order: 1s}
  clean: {operator: dedupe, from: ticks, key: [symbol, sequence]}
  bars:  {operator: bars, from: {node: clean, rows: 1000}, every: 1s}
  store: {sink: duckdb, from: bars, path: bars.duckdb, table: bars}
  late:  {sink: parquet, from: [bars.late], path: late/}
"""


def wrong(spec: Any, *, installed: bool = False) -> bool:
    """Tell whether the schema refuses a spec."""
    schema = pipeline_schema(installed=installed)
    return not jsonschema.Draft202012Validator(schema).is_valid(spec)


def test_the_committed_schema_is_current() -> None:
    """Editors read the file; `python -m market_data_pipeline.spec.json_schema` writes it."""
    committed = REPOSITORY / "docs" / "pipeline.schema.json"
    assert committed.read_text(encoding="utf-8") == pipeline_schema_text()


def test_it_is_a_schema() -> None:
    """By the rules of its dialect."""
    jsonschema.Draft202012Validator.check_schema(pipeline_schema(installed=False))


def test_it_takes_what_the_loader_takes() -> None:
    """The pipeline of the design, and the least there is."""
    assert not wrong(yaml.safe_load(GOOD))
    assert not wrong({"nodes": {"feed": {"source": "synthetic"}}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name:", "nmae:"),
        ("source: replay", "source: reply"),
        ("source: replay", "operator: replay"),
        ("every: 1s", "evry: 1s"),
        ("every: 1s", "every: one second"),
        ("from: ticks, ", ""),
        ("rows: 1000", "rows: 0"),
        ("rows: 1000", "policy: drop"),
        ("[bars.late]", "[]"),
        ("  ticks:", "  tic.ks:"),
        ('path: "data/*.parquet"', "path: 5"),
    ],
)
def test_it_refuses_what_the_loader_refuses(old: str, new: str) -> None:
    """Unknown keys and names, wrong types, missing keys."""
    assert old in GOOD
    assert wrong(yaml.safe_load(GOOD.replace(old, new)))


def test_every_component_that_can_stand_in_a_file_is_in_it_with_all_its_settings() -> None:
    """With the description of each setting, and nothing beside them allowed."""
    definitions: dict[str, Any] = pipeline_schema()["$defs"]
    for kind in KINDS:
        for name in registry.built_in(kind):
            info = describe(kind, name)
            assert (f"{kind}.{name}" in definitions) == info.in_yaml
            if not info.in_yaml:
                continue
            node = definitions[f"{kind}.{name}"]
            assert node["additionalProperties"] is False
            expected = {s.name: s.description for s in info.settings if s.in_yaml}
            found = {
                key: value.get("description")
                for key, value in node["properties"].items()
                if key not in {kind, "from"}
            }
            assert found == expected


def test_installed_components_are_in_it_on_request() -> None:
    """Those that can stand in a file and be loaded."""
    spec = {"nodes": {"feed": {"source": "toy_feed", "path": "x"}}}
    assert wrong(spec)
    assert not wrong(spec, installed=True)
    assert "operator.toy_call" not in pipeline_schema(installed=True)["$defs"]
