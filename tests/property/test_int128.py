from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit

from market_data_pipeline.kernels.int128 import add_product, divide_half_even

INT64 = st.integers(-(2**63), 2**63 - 1)
near_powers = st.builds(
    lambda power, off, sign: sign * (2**power + off),
    st.integers(0, 125),
    st.integers(-3, 3),
    st.sampled_from([1, -1]),
)
wide = st.one_of(st.integers(-(2**126), 2**126), near_powers)
divisors = st.one_of(
    st.integers(1, 2**63 - 1), st.integers(1, 10), st.integers(2**63 - 10, 2**63 - 1)
)


_add_product: Any = njit(lambda low, high, a, b: add_product(low, high, a, b))  # noqa: PLW0108
_divide: Any = divide_half_even


def words(value: int) -> tuple[int, int]:
    """Return the low and high word of a 128-bit number, both signed."""
    low = value & (2**64 - 1)
    return low - 2**64 if low >= 2**63 else low, value >> 64


@given(wide, INT64, INT64)
def test_sums_of_products_are_exact(total: int, a: int, b: int) -> None:
    """No product of two int64 and no carry is lost."""
    expected = total + a * b
    if -(2**127) <= expected < 2**127:
        assert _add_product(*words(total), a, b) == words(expected)


@given(wide, divisors)
@example(2**126, 1)
@example(-(2**126), 2**63 - 1)
@example((2**63 - 1) * (2**63 - 1), 2**63 - 1)
@example(5, 2)
@example(-5, 2)
@example(7, 2)
def test_division_rounds_half_to_even_or_says_that_it_does_not_fit(
    value: int, divisor: int
) -> None:
    """The quotient is the exact one, rounded, for every number and divisor."""
    quotient, fits = _divide(*words(value), divisor)
    expected = round(Fraction(value, divisor))
    if abs(expected) < 2**63:
        assert (quotient, fits) == (expected, True)
    else:
        assert not fits
