"""Numbers and times convert exactly, or the row says why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as hs

from market_data_pipeline.kernels import status as st
from market_data_pipeline.source.cells import Cells, to_fixed, to_ints
from market_data_pipeline.source.times import to_times
from market_data_pipeline.source.zones import LocalTimes

_HIGHEST = 2**63 - 2
_UTC = LocalTimes("UTC")


def _outcome(cells: Cells, row: int) -> tuple[int, int]:
    values, status = cells
    code = 0 if status is None else int(status[row])
    return code, int(values[row]) if code == st.OK else 0


def _expected(number: Decimal, scale: int) -> tuple[int, int]:
    if not number.is_finite():
        return st.NOT_FINITE, 0
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits))) * (-1 if sign else 1)
    if whole == 0:
        return st.OK, 0
    if exponent + scale > 100:
        return st.OVERFLOW, 0
    if exponent + scale < -5000:
        return st.INEXACT, 0
    numerator = whole * 10 ** max(exponent + scale, 0)
    value, rest = divmod(numerator, 10 ** max(-exponent - scale, 0))
    if abs(value) > _HIGHEST + (rest > 0):
        return st.OVERFLOW, 0
    return (st.INEXACT, 0) if rest else (st.OK, value)


def _agree(found: tuple[int, int], expected: tuple[int, int], number: Decimal) -> None:
    # A number both out of range and too fine is refused for either reason.
    if (
        expected[0] == st.OK
        or found[0] == st.OK
        or {found[0], expected[0]} - {st.INEXACT, st.OVERFLOW}
    ):
        assert found == expected, number


_floats = hs.one_of(
    hs.floats(),
    hs.floats(-1e10, 1e10),
    hs.decimals(-(10**10), 10**10, places=2).map(float),
    hs.decimals(-(10**8), 10**8, places=9).map(float),
    hs.decimals(-(10**10), 10**10, places=10).map(float),
    hs.integers(-(10**11), 10**11).map(float),
)


@given(hs.lists(_floats, min_size=1, max_size=30), hs.integers(0, 12))
def test_float_is_its_shortest_decimal_or_refused(floats: list[float], scale: int) -> None:
    """A float stands for the decimal that `repr` prints."""
    cells = to_fixed(pa.array(floats, pa.float64()), scale)
    for row, x in enumerate(floats):
        number = Decimal(repr(x))
        _agree(_outcome(cells, row), _expected(number, scale), number)


@given(hs.lists(hs.floats(width=32), min_size=1, max_size=10))
def test_float32_is_its_own_shortest_decimal(floats: list[float]) -> None:
    """A 32-bit float stands for the shortest decimal among 32-bit floats."""
    cells = to_fixed(pa.array(floats, pa.float32()), 9)
    for row, x in enumerate(floats):
        number = Decimal(str(np.float32(x)))
        _agree(_outcome(cells, row), _expected(number, 9), number)


_decimal_texts = hs.one_of(
    hs.decimals(allow_nan=False, allow_infinity=False).map(str),
    hs.decimals(-(10**10), 10**10, places=9).map(str),
    hs.from_regex(r"\A[+-]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][+-]?[0-9]{1,3})?\Z"),
    hs.integers(-(2**63), 2**63 + 5).map(lambda n: f"{n // 10**9}.{abs(n) % 10**9:09d}"),
    hs.sampled_from(["nan", "NaN", "-inf", "Infinity", "9223372036.854775806", "-0", "1e9"]),
)


@given(hs.lists(_decimal_texts, min_size=1, max_size=30), hs.integers(0, 18))
def test_decimal_text_is_exact_or_refused(texts: list[str], scale: int) -> None:
    """Text converts as `decimal.Decimal` reads it."""
    cells = to_fixed(pa.array(texts, pa.string()), scale)
    for row, text in enumerate(texts):
        number = Decimal(text)
        _agree(_outcome(cells, row), _expected(number, scale), number)


@given(hs.text(alphabet="0123456789.+-eE naif_x", max_size=12))
def test_text_that_is_no_decimal_is_refused(text: str) -> None:
    """No text is taken for a number that is none to `decimal.Decimal`."""
    code, _ = _outcome(to_fixed(pa.array([text], pa.string()), 9), 0)
    try:
        number = Decimal(text.strip(" ").replace("_", "x"))
    except ArithmeticError:
        assert code in {st.MALFORMED, st.EMPTY}
    else:
        assert code == st.MALFORMED if number.is_qnan() and len(text.strip()) > 3 else True
        assert code != st.EMPTY


@given(hs.lists(hs.decimals(-(10**12), 10**12, places=6), min_size=1, max_size=10))
def test_decimal128_is_exact_or_refused(numbers: list[Decimal]) -> None:
    """Decimals convert exactly or leave the range."""
    cells = to_fixed(pa.array(numbers, pa.decimal128(30, 6)), 9)
    for row, number in enumerate(numbers):
        _agree(_outcome(cells, row), _expected(number, 9), number)


@given(hs.lists(hs.integers(-(2**70), 2**70), min_size=1, max_size=10))
def test_integer_text_is_exact_or_refused(numbers: list[int]) -> None:
    """Integer text converts exactly or leaves the range."""
    cells = to_ints(pa.array([str(n) for n in numbers], pa.string()))
    for row, number in enumerate(numbers):
        fits = abs(number) <= 2**63 - 1
        expected = (st.OK, number) if fits else (st.OVERFLOW, 0)
        assert _outcome(cells, row) == expected


_moments = hs.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1))  # noqa: DTZ001
_recent = hs.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1))  # noqa: DTZ001


def _ns(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


@given(
    _moments,
    hs.integers(-23 * 60, 23 * 60),
    hs.sampled_from(["T", " "]),
    hs.integers(0, 999),
)
def test_iso_time_is_read_as_datetime_reads_it(
    moment: datetime, offset: int, separator: str, nanos: int
) -> None:
    """An ISO 8601 time with an offset is the instant that `datetime` makes of it."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    text = aware.isoformat(separator, "microseconds")
    fine = text[:26] + f"{nanos:03d}" + text[26:]
    values, status = to_times(pa.array([text, fine], pa.string()), _UTC)
    assert status is None
    assert values.tolist() == [_ns(aware), _ns(aware) + nanos]


@given(
    hs.lists(_recent, min_size=1, max_size=5),
    hs.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_local_time_is_the_first_of_two_and_none_in_a_gap(
    moments: list[datetime], name: str
) -> None:
    """A local time is read with fold 0; one that the clocks jump over is refused."""
    zone = ZoneInfo(name)
    texts = pa.array([m.isoformat(" ", "microseconds") for m in moments], pa.string())
    cells = to_times(texts, LocalTimes(name))
    for row, moment in enumerate(moments):
        utc = moment.replace(tzinfo=zone).astimezone(UTC)
        exists = utc.astimezone(zone).replace(tzinfo=None) == moment
        expected = (st.OK, _ns(utc)) if exists else (st.NONEXISTENT, 0)
        assert _outcome(cells, row) == expected


@given(hs.integers(0, 10**18), hs.sampled_from([10**9, 10**6, 10**3, 1]))
def test_epoch_unit_is_told_by_magnitude(ns: int, unit: int) -> None:
    """Seconds to nanoseconds since 1973 are told apart, as numbers and as text."""
    ns += 2 * 10**17
    epoch = ns // unit
    for column in (pa.array([epoch]), pa.array([str(epoch)])):
        values, status = to_times(column, _UTC)
        assert status is None
        assert values.tolist() == [epoch * unit]


@given(hs.lists(hs.from_regex(r"\A[0-9x]{2}[02][0-9]-[0-9x]{2}-[0-3x][0-9x]\Z"), min_size=1))
def test_date_is_read_as_the_calendar_has_it(texts: list[str]) -> None:
    """Only dates of the calendar are taken, also after bad ones in the rows before."""
    cells = to_times(pa.array(texts, pa.string()), _UTC)
    for row, text in enumerate(texts):
        code, value = _outcome(cells, row)
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            # The year 0, which Python's calendar lacks, is out of range all the same.
            refused = {st.MALFORMED, st.OVERFLOW} if text.startswith("0000") else {st.MALFORMED}
            assert code in refused
        else:
            inside = 1678 <= day.year <= 2261
            assert (code, value) == ((st.OK, _ns(day)) if inside else (st.OVERFLOW, 0))
