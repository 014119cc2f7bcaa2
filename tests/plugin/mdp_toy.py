"""A package that adds components, as its entry points tell; none of them runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Operator, SinkWriter, SourceReader
from market_data_pipeline.durations import Duration
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import TRADE, Schema

NOT_A_COMPONENT = 5


@component("toy_feed")
class ToyFeed:
    """Give toy trades.

    Rows do not really come.

    Attributes:
        path: Where from.
        speed: How fast, as a factor of the recorded speed,
            or `max`.
        out_of_order: How late rows may be.
        columns: Our names to theirs.
        strict: Fail on a bad row.
    """

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    path: str
    speed: float | Literal["max"] = "max"
    out_of_order: Duration = "0s"
    columns: Mapping[str, str] | None = None
    strict: bool = False

    def schema(self) -> Schema | None:
        """Return the columns."""
        return TRADE

    async def open(self, context: NodeContext) -> SourceReader:
        """Fail: it is a toy."""
        raise NotImplementedError


class _Toy:
    type_name: ClassVar[str]
    outputs: Any = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of all outputs."""
        return dict.fromkeys(self.outputs, schema)

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns that are read."""
        return wanted

    def build(self, context: NodeContext) -> Operator:
        """Fail: it is a toy."""
        raise NotImplementedError


@component("toy_window")
class ToyWindow(_Toy):
    """Put toys in windows.

    Attributes:
        every: Length of a window.
        key: Columns that tell toys apart.
        limit: Most toys, > 0.
    """

    outputs = ("out", "late")
    side_outputs = ("late",)

    every: Duration
    key: tuple[str, ...] = ("symbol",)
    limit: int = 10

    def __post_init__(self) -> None:
        if self.limit <= 0:
            msg = f"`limit` must be positive, was {self.limit}"
            raise ConfigError(msg, parameter="limit")


@component("toy_call")
class ToyCall(_Toy):
    """Call a function on toys.

    Attributes:
        function: Called with each toy.
    """

    function: Callable[[Any], Any]


@component("toy_where")
class ToyWhere(_Toy):
    """Keep some toys.

    Attributes:
        where: Which: an expression or a function.
    """

    where: str | Callable[[Any], bool]


@component("toy_split")
class ToySplit(_Toy):
    """Send toys to boxes.

    Attributes:
        boxes: Expression by name of output.
    """

    boxes: Mapping[str, str]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The boxes."""
        return tuple(self.boxes)


@component("toy_store")
class ToyStore:
    """Keep toys in a box.

    Attributes:
        path: The box.
        overwrite: Replace what is there.
    """

    type_name: ClassVar[str]

    path: str
    overwrite: bool = False

    def check(self) -> None:
        """Look at nothing."""

    async def open(self, context: NodeContext, schema: Schema | None) -> SinkWriter:
        """Fail: it is a toy."""
        raise NotImplementedError

    def read(self) -> pa.Table:
        """Return nothing."""
        return pa.table({})
