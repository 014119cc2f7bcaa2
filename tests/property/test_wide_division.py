"""Division of 128-bit sums against Python's own integers."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from market_data_pipeline.kernels.int128 import divide_half_even

_LARGEST = 2**63 - 1

_edges = st.integers(0, 127).flatmap(lambda bits: st.integers(2**bits - 3, 2**bits + 3))
_divisors = st.one_of(st.integers(1, _LARGEST), _edges.filter(lambda value: 0 < value <= _LARGEST))


@st.composite
def _near_halves(draw: st.DrawFn) -> tuple[int, int]:
    """Draw a divisor and a number that it goes into a whole or half number of times, nearly."""
    divisor = draw(_divisors)
    times = draw(st.one_of(st.integers(0, 2**64), _edges.filter(lambda value: value < 2**64)))
    number = times * divisor + draw(st.sampled_from([0, divisor // 2])) + draw(st.integers(-2, 2))
    return min(max(number, 0), 2**127 - 1), divisor


def _word(value: int) -> int:
    value %= 2**64
    return value - 2**64 if value >= 2**63 else value


def _oracle(number: int, divisor: int) -> tuple[int, bool]:
    whole, rest = divmod(abs(number), divisor)
    whole += 2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1)
    if whole > _LARGEST:
        return 0, False
    return (-whole if number < 0 else whole), True


@given(
    st.one_of(
        _near_halves(),
        st.tuples(st.integers(0, 2**127 - 1), _divisors),
        st.tuples(_edges.filter(lambda value: 0 <= value < 2**127), _divisors),
    ),
    st.booleans(),
)
@example((2**127 - 1, _LARGEST), True)
@example((2**64, 1), False)
def test_quotient_is_rounded_half_to_even(case: tuple[int, int], negative: bool) -> None:
    """Every quotient is the nearest integer, an even one of two; or is said not to fit."""
    number, divisor = case
    if negative:
        number = -number
    found = divide_half_even(_word(number), _word(number >> 64), divisor)
    assert found == _oracle(number, divisor)


def test_least_number_does_not_fit() -> None:
    """The negative number without a positive twin is not mistaken for another one."""
    assert divide_half_even(0, -(2**63), 1) == (0, False)
