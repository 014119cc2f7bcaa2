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

from typing import TYPE_CHECKING, Final

from market_data_pipeline.lazy import loaded_from

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

__getattr__: Final = loaded_from(
    __name__,
    {
        "EventTimePolicy": "base",
        "GreeksPricer": "greeks",
        "Operator": "base:ObjectOperator",
        "OptionsChainOperator": "options_door",
        "SecondBarAggregator": "second_bars",
        "StatefulOperator": "base",
    },
)
