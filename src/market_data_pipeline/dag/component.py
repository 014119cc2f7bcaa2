"""The settings half of a node: a frozen record, checked when it is made.

A component says what a node does and can be written down as YAML; `open` or `build`
makes the half that runs. Settings are checked by pydantic and a wrong one is a
`ConfigError` that names it.
"""

from __future__ import annotations

__all__ = ("component", "default_of", "settings_of", "type_name_of")

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo

from market_data_pipeline.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOULD_BE: Final = "Input should be "
_MISSING: Final = frozenset({"missing", "missing_argument"})
_STRAY: Final = "unexpected_keyword_argument"

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def component(type_name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a component: a frozen dataclass whose settings are checked.

    The class docstring's `Attributes:` section describes the settings; the reference in
    the docs, the JSON Schema and `mdp list` are made from it.

    Args:
        type_name: The word for it in YAML, as in `operator: bars`.
    """

    def wrap(cls: type[T]) -> type[T]:
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        made: Any = pydantic_dataclass(frozen=True, config=config)(cls)
        checked_init = made.__init__

        def __init__(self: object, *args: object, **settings: object) -> None:  # noqa: N807
            try:
                checked_init(self, *args, **settings)
            except ValidationError as err:
                raise _config_error(made, err) from None

        __init__.__wrapped__ = checked_init  # type: ignore[attr-defined]
        made.__init__ = __init__
        made.type_name = type_name
        result: type[T] = made
        return result

    return wrap


def _config_error(cls: Any, err: ValidationError) -> ConfigError:
    known = [field.name for field in dataclasses.fields(cls)]
    errors = err.errors(include_url=False)
    found = errors[0]
    choices = _choices(errors)
    place = found["loc"][:-1] if choices else found["loc"]
    # A setting that was given by position is located by its number.
    path = [known[p] if isinstance(p, int) and not i else p for i, p in enumerate(place)]
    parameter = str(path[0]) if path else None
    cause = found.get("ctx", {}).get("error")
    if parameter is None and isinstance(cause, ConfigError):
        return cause  # from `__post_init__`, which knows best which setting it means
    if len(path) > 1 and found["type"] in {*_MISSING, _STRAY}:
        where = ".".join(str(part) for part in path[:-1])
        said = "has no setting" if found["type"] == _STRAY else "needs the setting"
        msg = f"`{where}` of `{cls.type_name}` {said} `{path[-1]}`"
    elif found["type"] == _STRAY and parameter is not None:
        names = ", ".join(f"`{name}`" for name in known)
        msg = (
            f"`{cls.type_name}` has no setting `{parameter}`"
            f"{nearest(parameter, known)} (settings: {names})"
        )
    elif found["type"] in _MISSING:
        msg = f"`{cls.type_name}` needs the setting `{parameter}`"
    else:
        text = choices or found["msg"].removeprefix("Value error, ")
        inner = ".".join(str(part) for part in path)
        msg = f"`{inner}` of `{cls.type_name}`: {text[:1].lower()}{text[1:]}"
        if found["type"] != "value_error":
            msg += f", was {found['input']!r}"
    return ConfigError(msg, parameter=parameter)


def _choices(errors: Sequence[ErrorDetails]) -> str | None:
    """Return what a setting of several types should be; None if it has one type."""
    first = errors[0]
    texts = dict.fromkeys(
        error["msg"].partition(", ")[0].removeprefix(_SHOULD_BE)
        for error in errors
        if error["loc"][:-1] == first["loc"][:-1] and error["input"] is first["input"]
    )
    return _SHOULD_BE + " or ".join(texts) if len(texts) > 1 else None


def type_name_of(thing: object) -> str:
    """Return the word for a component in YAML."""
    name: str = getattr(thing, "type_name", type(thing).__name__)
    return name


def settings_of(thing: Any) -> dict[str, Any]:
    """Return the settings of a component that differ from their defaults, in order."""
    settings = {}
    for field in dataclasses.fields(thing):
        value, default = getattr(thing, field.name), default_of(field)
        if default is dataclasses.MISSING or value != default:
            settings[field.name] = value
    return settings


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a setting, `dataclasses.MISSING` if it must be given."""
    default: Any = field.default
    if isinstance(default, FieldInfo):
        if default.is_required():
            return dataclasses.MISSING
        return default.get_default(call_default_factory=True, validated_data={})
    if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        factory: Any = field.default_factory
        return factory()
    return default
