"""Quality against plain Python: every check, any cut, disorder, and a restart at any point."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.kernels.hampel import deviation, enter, median
from market_data_pipeline.operator.quality import Quality
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED, Field, Kind
from market_data_pipeline.symbols import SymbolTable
from support.operator_batches import batches_of

NAMES = (
    "crossed",
    "locked",
    "one_sided",
    "zero_size",
    "clock_skew",
    "out_of_sequence",
    "stale",
    "price_band",
    "outlier",
)
OF_QUOTES = frozenset({"crossed", "locked", "one_sided", "stale"})
NUMBER = Field("number", Kind.INT)
EXTREMES = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 2, UNDEFINED]


class Memory:
    """What is known of a symbol."""

    def __init__(self) -> None:
        self.reached = 0
        self.highest: int | None = None
        self.last: tuple[int, ...] | None = None
        self.since = 0
        self.reference: list[int | None] = [None, None]
        self.candidates: list[list[int]] = [[], []]
        self.values: list[list[int]] = [[], []]


def is_off(price: int, reference: int, percent: float) -> bool:
    return abs(price - reference) > Fraction(str(percent)) / 100 * abs(reference)


def low_median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def is_outlier(value: int, values: list[int], window: int, threshold: float, least: float) -> bool:
    if len(values) < window:
        return False
    center = low_median(values[-window:])
    spread = low_median([abs(v - center) for v in values[-window:]])
    sigma = Fraction(str(threshold)) * Fraction("1.4826") * spread
    return abs(value - center) > sigma and is_off(value, center, least)


def expected(
    rows: list[dict[str, Any]], checks: dict[str, dict[str, Any]], ttl: int, bound: int
) -> list[tuple[str, int, str | None]]:
    """Return output, mask and reason of each row, the plain way."""
    known: dict[int, Memory] = {}
    watermark = -(2**63)
    found: list[tuple[str, int, str | None]] = []
    for row in rows:
        memory = known.get(row["symbol"])
        if memory is None or watermark - memory.reached >= ttl:
            memory = known[row["symbol"]] = Memory()
        watermark = max(watermark, row["ts_event"] - bound)
        memory.reached = watermark
        fails = failures(row, memory, checks)
        failed = [name for name in NAMES if name in checks and fails[name]]
        rejected = [name for name in failed if checks[name]["do"] == "reject"]
        learn(row, memory, checks, set(rejected))
        mask = sum(1 << NAMES.index(name) for name in failed)
        found.append(("rejected" if rejected else "out", mask, rejected[0] if rejected else None))
    return found


def failures(
    row: dict[str, Any], memory: Memory, checks: dict[str, dict[str, Any]]
) -> dict[str, bool]:
    time, prices, sizes = row["ts_event"], row["prices"], row["sizes"]
    defined = [price for price in prices if price != UNDEFINED]
    quote = len(prices) == 2
    both = len(defined) == 2
    band, outlier = checks.get("price_band"), checks.get("outlier")
    return {
        "crossed": both and prices[0] > prices[1],
        "locked": both and prices[0] == prices[1],
        "one_sided": quote and not both,
        "zero_size": any(
            size <= 0 and (price != UNDEFINED or not quote)
            for price, size in zip(prices, sizes, strict=True)
        ),
        "clock_skew": "clock_skew" in checks
        and row["ts_recv"] != UNDEFINED
        and time - row["ts_recv"] > checks["clock_skew"]["over"],
        "out_of_sequence": "out_of_sequence" in checks
        and memory.highest is not None
        and memory.highest - time > checks["out_of_sequence"]["over"],
        "stale": "stale" in checks
        and memory.last == (*prices, *sizes)
        and time - memory.since > checks["stale"]["after"],
        "price_band": band is not None
        and any(
            price != UNDEFINED
            and reference is not None
            and is_off(price, reference, band["percent"])
            for price, reference in zip(prices, memory.reference, strict=False)
        ),
        "outlier": outlier is not None
        and any(
            price != UNDEFINED
            and is_outlier(
                price, values, outlier["window"], outlier["threshold"], outlier["min_percent"]
            )
            for price, values in zip(prices, memory.values, strict=False)
        ),
    }


def learn(
    row: dict[str, Any], memory: Memory, checks: dict[str, dict[str, Any]], rejected: set[str]
) -> None:
    """Each check's memory takes in the rows that no other check rejects."""
    time, now = row["ts_event"], (*row["prices"], *row["sizes"])
    if not rejected - {"out_of_sequence"}:
        memory.highest = time if memory.highest is None else max(memory.highest, time)
    if not rejected - {"stale"} and memory.last != now:
        memory.last, memory.since = now, time
    for side, price in enumerate(row["prices"]):
        if price == UNDEFINED:
            continue
        if "price_band" in checks and not rejected - {"price_band"}:
            learn_band(memory, side, price, checks["price_band"])
        if not rejected - {"outlier"}:
            memory.values[side].append(price)


def learn_band(memory: Memory, side: int, price: int, band: dict[str, Any]) -> None:
    reference, candidates = memory.reference[side], memory.candidates[side]
    if reference is None or not is_off(price, reference, band["percent"]):
        memory.reference[side] = price
        candidates.clear()
        return
    if candidates and is_off(price, candidates[-1], band["percent"]):
        candidates.clear()
    candidates.append(price)
    if len(candidates) == band["confirm"]:
        memory.reference[side] = price
        candidates.clear()


DO = st.sampled_from(["reject", "flag"])
SPAN = st.integers(0, 12)
PERCENT = st.sampled_from([0.0001, 1, 2.5, 10, 50, 150])
CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "crossed": st.fixed_dictionaries({"do": DO}),
        "locked": st.fixed_dictionaries({"do": DO}),
        "one_sided": st.fixed_dictionaries({"do": DO}),
        "zero_size": st.fixed_dictionaries({"do": DO}),
        "clock_skew": st.fixed_dictionaries({"do": DO, "over": SPAN}),
        "out_of_sequence": st.fixed_dictionaries({"do": DO, "over": SPAN}),
        "stale": st.fixed_dictionaries({"do": DO, "after": SPAN}),
        "price_band": st.fixed_dictionaries(
            {"do": DO, "percent": PERCENT, "confirm": st.integers(0, 4)}
        ),
        "outlier": st.fixed_dictionaries(
            {
                "do": DO,
                "window": st.integers(3, 6),
                "threshold": st.sampled_from([0.5, 1, 3.125]),
                "min_percent": st.sampled_from([0, 0.1, 5]),
            }
        ),
    },
)
PRICES = st.integers(96, 104) | st.sampled_from([-5, 0, 1_000, UNDEFINED]) | st.just(100)
FEW_ROWS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.integers(0, 2),
        PRICES,
        PRICES,
        st.sampled_from([1, 1, 1, 2, 0, -1, UNDEFINED]),
        st.sampled_from([1, 1, 1, 2, 0, UNDEFINED]),
        st.integers(0, 60) | st.just(UNDEFINED),
    ),
    min_size=1,
    max_size=60,
)


@st.composite
def many_rows(draw: st.DrawFn) -> list[Any]:
    """Rows of a market that ticks by one, jumps and repeats itself; long enough to learn."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = draw(st.integers(20, 120))
    times = np.arange(rows) * draw(st.integers(1, 4)) // 2 + rng.integers(-6, 6, rows)
    steps = rng.choice(
        [0, 0, 0, 1, -1, 40, -40], (2, rows), p=[0.2, 0.2, 0.16, 0.2, 0.2, 0.02, 0.02]
    )
    prices = np.array([[100], [101]]) + np.cumsum(steps, axis=1)
    prices[rng.random((2, rows)) < 0.03] = 150
    prices[rng.random((2, rows)) < 0.03] = UNDEFINED
    sizes = rng.choice([1, 2, 0, -1], (2, rows), p=[0.86, 0.1, 0.02, 0.02])
    columns = (
        times,
        rng.integers(0, 2, rows),
        *prices,
        *sizes,
        times + rng.integers(-6, 40, rows),
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


ROWS = FEW_ROWS | many_rows()


def component(checks: dict[str, dict[str, Any]], ttl: int) -> Quality:
    settings: dict[str, Any] = {}
    for name, check in checks.items():
        spelled = {k: f"{v}ns" if k in {"over", "after"} else v for k, v in check.items()}
        settings[name] = check["do"] if len(check) == 1 else spelled
    return Quality(**settings, ttl=f"{ttl}ns")


def batches(rows: list[Any], cuts: list[int], bound: int, *, quotes: bool) -> list[Batch]:
    times, symbols, first, second, first_size, second_size, received = zip(*rows, strict=True)
    columns: dict[str, Any] = {
        "ts_event": times,
        "ts_recv": received,
        "symbol": symbols,
        "number": range(len(rows)),
    }
    if quotes:
        columns |= {"bid_price": first, "ask_price": second}
        columns |= {"bid_size": first_size, "ask_size": second_size}
    else:
        columns |= {"price": first, "size": first_size}
    schema = (QUOTE if quotes else TRADE).having(NUMBER)
    return batches_of(columns, cuts=cuts, bound=bound, schema=schema)


@given(
    rows=ROWS,
    checks=CHECKS,
    quotes=st.booleans(),
    ttl=st.integers(1, 80),
    bound=st.integers(0, 20),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    restart=st.integers(0, 6),
)
def test_what_fails_a_check_is_what_the_oracle_says(
    rows: list[Any],
    checks: dict[str, dict[str, Any]],
    quotes: bool,
    ttl: int,
    bound: int,
    cuts: list[int],
    restart: int,
) -> None:
    """Output, bits and reason of each row, whatever was checked, cut and restarted."""
    if not quotes:
        checks = {name: check for name, check in checks.items() if name not in OF_QUOTES}
    if not checks:
        checks = {"zero_size": {"do": "flag"}}
    context = NodeContext("q", symbols=SymbolTable(["AAA", "BBB", "CCC"]))
    operator = component(checks, ttl).build(context)
    found: dict[int, tuple[str, int | None, str | None]] = {}
    flags = any(check["do"] == "flag" for check in checks.values())
    for number, batch in enumerate(batches(rows, cuts, bound, quotes=quotes)):
        if number == restart:
            state = operator.snapshot()
            operator = component(checks, ttl).build(context)
            operator.restore(state)
        coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
        for port, out in operator.process(coded):
            masks = out["quality"].tolist() if "quality" in out.schema else [None] * len(out)
            reasons = out["reason"].to_pylist() if port == "rejected" else [None] * len(out)
            for place, mask, reason in zip(out["number"].tolist(), masks, reasons, strict=True):
                found[place] = (port, mask, reason)
    plain = [
        {
            "ts_event": time,
            "symbol": symbol,
            "prices": (first, second) if quotes else (first,),
            "sizes": (first_size, second_size) if quotes else (first_size,),
            "ts_recv": received,
        }
        for time, symbol, first, second, first_size, second_size, received in rows
    ]
    right = expected(plain, checks, ttl, bound)
    shown = [
        (port, mask if flags or port == "rejected" else None, reason)
        for port, mask, reason in right
    ]
    assert [found[place] for place in range(len(rows))] == shown
    rejected = sum(port == "rejected" for port, _, _ in right)
    assert context.account.reasons.get("rejected", 0) == rejected


@given(
    values=st.lists(
        st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.sampled_from(EXTREMES),
        min_size=1,
        max_size=60,
    ),
    n=st.integers(1, 9),
)
def test_median_and_deviation_of_the_last_values_are_exact(values: list[int], n: int) -> None:
    """At every step, for values anywhere in 64 bits, with the lower of two in the middle."""
    words = np.zeros(2 * n + 3, np.int64)
    for count, value in enumerate(values):
        enter(words, 3, n, count, value)
        last = values[max(0, count + 1 - n) : count + 1]
        if len(last) == n:
            center = low_median(last)
            assert median(words, 3, n) == center
            assert int(deviation(words, 3, n)) == low_median([abs(v - center) for v in last])


@given(
    first=st.sampled_from(EXTREMES[:-1]) | st.integers(-(2**63), 2**63 - 2),
    second=st.sampled_from(EXTREMES[:-1]) | st.integers(-(2**63), 2**63 - 2),
    percent=st.sampled_from([0.0001, 1, 99.9999, 100, 200, 1_000_000]),
)
def test_band_is_exact_for_any_two_prices(first: int, second: int, percent: float) -> None:
    """Products of 128 bits neither overflow nor round."""
    rows = [(1, 0, first, 0, 1, 1, 1), (2, 0, second, 0, 1, 1, 1)]
    operator = Quality(price_band={"percent": percent}).build(NodeContext("q"))
    outputs = operator.process(batches(rows, [], 0, quotes=False)[0])
    rejected = sum(len(batch) for port, batch in outputs if port == "rejected")
    assert rejected == is_off(second, first, percent)
