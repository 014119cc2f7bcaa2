"""The JSON Schema of one component's settings."""

from __future__ import annotations

__all__ = ("component_schema", "nested_source_lists", "nested_sources")

import dataclasses
import typing
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticOmit

from market_data_pipeline.dag.nodes import SourceNode

_UNTYPED_KEYS: Final = {"title", "default", "description"}


class _SettingsSchema(GenerateJsonSchema):
    """Leaves out what cannot be written down, such as a Python function."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}

    def handle_invalid_for_json_schema(
        self,
        schema: Any,  # noqa: ARG002  the signature is pydantic's
        error_info: str,  # noqa: ARG002
    ) -> JsonSchemaValue:
        raise PydanticOmit


def nested_sources(cls: type[Any]) -> frozenset[str]:
    """Return the settings of a component that are sources themselves, as `of` of `chaos`."""
    hints = typing.get_type_hints(cls)
    return frozenset(
        field.name for field in dataclasses.fields(cls) if hints[field.name] is SourceNode
    )


def nested_source_lists(cls: type[Any]) -> frozenset[str]:
    """Return the settings of a component that are lists of sources, as `of` of `failover`."""
    hints = typing.get_type_hints(cls)
    return frozenset(
        field.name
        for field in dataclasses.fields(cls)
        if typing.get_args(hints[field.name]) == (SourceNode, ...)
    )


def component_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the schema of a component's settings; those only Python can give are absent.

    A setting that is a source is an object; which ones there are, the registry knows.
    """
    schema = TypeAdapter(cls).json_schema(schema_generator=_SettingsSchema)
    # `Any` stands for objects; a setting of plain data says what it takes.
    properties = schema.get("properties", {})
    untyped = [name for name, value in properties.items() if not value.keys() - _UNTYPED_KEYS]
    for name in untyped:
        del properties[name]
    properties.update({name: {"type": "object"} for name in nested_sources(cls)})
    properties.update({name: {"type": "array"} for name in nested_source_lists(cls)})
    return schema
