"""Numbers that bars cannot be made of, found once something has gone wrong."""

from __future__ import annotations

__all__ = ("refuse_overflow", "refuse_undefined")

from typing import NoReturn

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ArithmeticOverflowError, RecordError
from market_data_pipeline.records import UNDEFINED


def refuse_undefined(batch: Batch, names: tuple[str, str], node: str, *, first: int = 0) -> None:
    """Refuse a price that is undefined, or a size that is undefined or negative.

    Args:
        batch: The rows.
        names: The columns of price and size.
        node: The node they were given to.
        first: Which row of their batch the first one is.

    Raises:
        RecordError: If there is one; says where.
    """
    price, size = names
    flaws = (
        (price, batch[price] == UNDEFINED, "undefined"),
        (size, batch[size] == UNDEFINED, "undefined"),
        (size, batch[size] < 0, "negative"),
    )
    found = [(int(np.argmax(flawed)), name, word) for name, flawed, word in flaws if flawed.any()]
    if not found:
        return
    row, name, word = min(found)
    symbol = batch.symbols.name(int(batch["symbol"][row]))
    time = np.datetime64(int(batch.times[row]), "ns")
    msg = (
        f"`{name}` of row {first + row} of the batch ({symbol}, {time}Z) is {word}; `{node}` "
        f"makes no bars of that, leave such rows out before it"
    )
    raise RecordError(msg, reason=word)


def refuse_overflow(node: str) -> NoReturn:
    """Refuse to give out bars of which a sum left its range.

    Raises:
        ArithmeticOverflowError: Always.
    """
    msg = (
        f"a volume or average of `{node}` left the range of 64 bits; read the sizes with "
        f"fewer decimal places"
    )
    raise ArithmeticOverflowError(msg)
