"""Drawings of a graph, valid or not: for terminals, Mermaid, Graphviz and as SVG."""

from __future__ import annotations

__all__ = ("FORMS", "draw")

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.spec.draw_dot import to_dot
from market_data_pipeline.spec.draw_mermaid import to_mermaid
from market_data_pipeline.spec.draw_svg import to_svg
from market_data_pipeline.spec.draw_text import to_text

_FORMS: Final = MappingProxyType(
    {"text": to_text, "mermaid": to_mermaid, "dot": to_dot, "svg": to_svg}
)

FORMS: Final = tuple(_FORMS)
"""The forms of a drawing."""


def draw(dag: Dag, form: str = "text") -> str:
    """Return a drawing of a graph.

    Args:
        dag: The graph; one that could not run, as with a cycle, is drawn all the same.
        form: `text`, `mermaid`, `dot` or `svg`.

    Raises:
        ConfigError: If there is no such form.
    """
    drawer: Callable[[Dag], str] | None = _FORMS.get(form)
    if drawer is None:
        known = ", ".join(f"`{name}`" for name in FORMS)
        msg = f"there is no form `{form}`{nearest(form, FORMS)} (forms: {known})"
        raise ConfigError(msg, parameter="form")
    return drawer(dag)
