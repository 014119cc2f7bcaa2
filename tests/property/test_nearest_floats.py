"""Fixed point to floats and back."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as hs

from market_data_pipeline.arrow_text import column_text, json_text
from market_data_pipeline.sink.floats import nearest_floats

_INT64S = hs.integers(-(2**63), 2**63 - 1)
_EDGES = hs.builds(
    lambda power, off, sign: max(-(2**63), min(2**63 - 1, sign * (2**power + off))),
    hs.integers(50, 63),
    hs.integers(-3, 3),
    hs.sampled_from([1, -1]),
)


@given(hs.lists(_INT64S | _EDGES, max_size=30), hs.integers(0, 18))
@example([2**63 - 1, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1], 9)
def test_floats_are_the_nearest_to_the_decimals(values: list[int], scale: int) -> None:
    """The float is the one that the exact fraction rounds to, at every size."""
    found = nearest_floats(np.array(values, np.int64), scale).tolist()
    assert found == [float(Fraction(value, 10**scale)) for value in values]


_FIFTEEN_DIGITS = hs.integers(-(10**15) + 1, 10**15 - 1)


@given(
    hs.lists(_FIFTEEN_DIGITS | hs.builds(lambda v: v // 1000 * 10**6, _FIFTEEN_DIGITS)),
    hs.integers(0, 18),
)
def test_floats_give_fixed_point_back(values: list[int], scale: int) -> None:
    """Up to 15 significant digits nothing is lost: the shortest text is the value."""
    found = nearest_floats(np.array(values, np.int64), scale).tolist()
    assert [Decimal(repr(value)).scaleb(scale) for value in found] == values


@given(hs.lists(hs.none() | _INT64S | hs.integers(-99, 99), max_size=20), hs.integers(1, 18))
def test_decimal_text_is_exact(values: list[int | None], scale: int) -> None:
    """The text means the same number, has no exponent and no needless zeros."""
    exact = [None if value is None else Decimal(value).scaleb(-scale) for value in values]
    array = pa.array(exact, pa.decimal128(38, scale))
    for part in (array, array.slice(min(3, len(array)))):
        for text, value in zip(column_text(part).to_pylist(), part.to_pylist(), strict=True):
            if value is None:
                assert text is None
                continue
            assert Decimal(text) == value
            assert "e" not in text.lower()
            assert text.endswith(".0") or not text.endswith("0")
    assert json_text(array).null_count == 0


@given(hs.lists(hs.decimals("-1e25", "1e25", places=9), max_size=10))
def test_wide_decimals_are_exact(values: list[Decimal]) -> None:
    """Decimals of a database may be wider than 64 bits."""
    texts = column_text(pa.array(values, pa.decimal128(38, 9))).to_pylist()
    assert [Decimal(text) for text in texts] == values
