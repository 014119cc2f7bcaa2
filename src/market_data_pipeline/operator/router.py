"""Send rows to different outputs."""

from __future__ import annotations

__all__ = ("Router",)

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.expression import Expression
from market_data_pipeline.operator.predicates import mask_maker
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema

_PORT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

Condition = Expression | Callable[..., Any]


@component("router")
class Router:
    """Send each row to the first output whose condition it meets.

    A condition is an expression such as `symbol in ['BTC', 'ETH']`, or a function that
    returns True or False. With `by`, a route lists the values of that column instead:
    `by: symbol, routes: {btc: [BTCUSDT, BTCUSDC]}`. Rows that meet none go to `default`;
    without it they end here and are counted as `filtered`.

    Backpressure: holds no rows; takes none while a channel behind one of its outputs is full.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once, to one output, in order.

    Memory: none.

    Attributes:
        routes: Names of outputs to their conditions, or to lists of values.
        by: The column whose values are listed.
        default: Name of the output for all other rows.
        on: What a function is given.
    """

    routes: dict[str, str | list[str | int | bool] | Callable[..., Any]]
    by: str | None = None
    default: str | None = None
    on: Literal["rows", "batches"] = "rows"

    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse routes that cannot be told apart or understood.

        Raises:
            ConfigError: If there are none, a name is no name or taken, or a condition is
                not one.
        """
        if not self.routes:
            msg = "`routes` of `router` must name at least one output"
            raise ConfigError(msg, parameter="routes")
        if self.default in self.routes:
            msg = (
                f"`default` of `router` must be a name of its own, was the route `{self.default}`"
            )
            raise ConfigError(msg, parameter="default")
        for name in self.outputs:
            if not _PORT.fullmatch(name):
                msg = f"an output of `router` must be a word, was `{name}`"
                raise ConfigError(msg, parameter="routes")
        self.conditions()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the routes, and the default."""
        return (*self.routes, *([self.default] if self.default is not None else []))

    def conditions(self) -> dict[str, Condition]:
        """Return the condition of each route."""
        return {name: self._condition(name, route) for name, route in self.routes.items()}

    def _condition(self, name: str, route: Any) -> Condition:
        parameter = f"routes.{name}"
        if self.by is None:
            if isinstance(route, list):
                msg = f"`{parameter}` is a list of values; say of which column with `by`"
                raise ConfigError(msg, parameter="by")
            return Expression(route, parameter) if isinstance(route, str) else route
        if callable(route):
            msg = f"`{parameter}` must list values of `{self.by}`, was a function"
            raise ConfigError(msg, parameter="routes")
        values = route if isinstance(route, list) else [route]
        if not values:
            msg = f"`{parameter}` must list at least one value of `{self.by}`"
            raise ConfigError(msg, parameter="routes")
        return Expression.membership(self.by, values)

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come, for each output.

        Raises:
            SchemaError: If a condition does not fit them.
        """
        for condition in self.conditions().values():
            if isinstance(condition, Expression):
                condition.bind_condition(schema, "router")
        return dict.fromkeys(self.outputs, schema)

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted and those the conditions read; all for a function."""
        names = [
            c.names if isinstance(c, Expression) else None for c in self.conditions().values()
        ]
        if wanted is None or None in names:
            return None
        return wanted.union(*(read for read in names if read is not None))

    def build(self, context: NodeContext) -> RouterOperator:
        """Make the running half."""
        return RouterOperator(self, context)


class RouterOperator(Stateless):
    """The running half of `Router`."""

    def __init__(self, settings: Router, context: NodeContext) -> None:
        self._masks = {
            name: mask_maker(condition, settings.on, f"{context.node}.{name}")
            for name, condition in settings.conditions().items()
        }
        self._default = settings.default
        self._account = context.account

    def process(self, batch: Batch) -> Outputs:
        """Return the rows, each on its output."""
        rows = left = len(batch)
        if not rows:
            return ()
        outputs: list[tuple[str, Batch]] = []
        waiting = np.ones(rows, np.bool_)
        for name, mask in self._masks.items():
            chosen = mask(batch) & waiting
            count = int(np.count_nonzero(chosen))
            if count:
                outputs.append((name, keep_rows(batch, chosen, count)))
                waiting &= ~chosen
                left -= count
        if left and self._default is not None:
            outputs.append((self._default, keep_rows(batch, waiting, left)))
        elif left:
            self._account.add("filtered", left)
        return outputs
