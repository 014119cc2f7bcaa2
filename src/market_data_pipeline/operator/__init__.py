"""Operators: transforms, bars, windows, joins, quality; one operator, one file.

The names below are those that version 0.8 has here; they are loaded on first use.
"""

from __future__ import annotations

__all__ = (
    "EventTimePolicy",
    "GreeksPricer",
    "Operator",
    "OptionsChainOperator",
    "SecondBarAggregator",
    "StatefulOperator",
)

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from market_data_pipeline.operator.base import EventTimePolicy as EventTimePolicy
    from market_data_pipeline.operator.base import ObjectOperator as Operator
    from market_data_pipeline.operator.base import StatefulOperator as StatefulOperator
    from market_data_pipeline.operator.greeks import GreeksPricer as GreeksPricer
    from market_data_pipeline.operator.options_door import (
        OptionsChainOperator as OptionsChainOperator,
    )
    from market_data_pipeline.operator.second_bars import (
        SecondBarAggregator as SecondBarAggregator,
    )

_HOMES: Final = {
    "EventTimePolicy": ("base", "EventTimePolicy"),
    "GreeksPricer": ("greeks", "GreeksPricer"),
    "Operator": ("base", "ObjectOperator"),
    "OptionsChainOperator": ("options_door", "OptionsChainOperator"),
    "SecondBarAggregator": ("second_bars", "SecondBarAggregator"),
    "StatefulOperator": ("base", "StatefulOperator"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        globals()[name] = value
        return value
    msg = f"module `{__name__}` has no attribute `{name}`"
    raise AttributeError(msg)
