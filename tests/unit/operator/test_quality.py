"""Quality: settings, columns, what is counted, told, saved and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.kernels import quality as kernel
from market_data_pipeline.operator.quality import Quality
from market_data_pipeline.records import QUOTE, REJECTED, TRADE, UNDEFINED, Field, Flaw, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator
from support.operator_batches import batches_of

SECOND = 1_000_000_000
UNIT = 1_000_000_000


def quotes(*rows: tuple[Any, Any], times: list[int] | None = None, **others: Any) -> Batch:
    """Quotes of one symbol, a second apart; None is no price."""
    bids, asks = zip(*rows, strict=True)
    columns = {
        "ts_event": times or [i * SECOND for i in range(len(rows))],
        "ts_recv": [UNDEFINED] * len(rows),
        "bid_price": [UNDEFINED if p is None else round(p * UNIT) for p in bids],
        "ask_price": [UNDEFINED if p is None else round(p * UNIT) for p in asks],
        "bid_size": [UNIT] * len(rows),
        "ask_size": [UNIT] * len(rows),
        **others,
    }
    return batches_of(columns, schema=QUOTE)[0]


def trades(*prices: float, **others: Any) -> Batch:
    """Trades of one symbol, a second apart."""
    columns = {
        "ts_event": [i * SECOND for i in range(len(prices))],
        "price": [round(p * UNIT) for p in prices],
        "size": [UNIT] * len(prices),
        **others,
    }
    return batches_of(columns, schema=TRADE)[0]


def told(outputs: Outputs) -> list[tuple[str, str]]:
    """Return reason and detail of the rows rejected."""
    return [
        (reason, detail)
        for port, batch in outputs
        if port == "rejected"
        for reason, detail in zip(
            batch["reason"].to_pylist(), batch["detail"].to_pylist(), strict=True
        )
    ]


def run(batch: Batch, **checks: Any) -> list[tuple[str, str]]:
    return told(Quality(**checks).build(NodeContext("q")).process(batch))


def test_some_check_is_needed() -> None:
    """An operator that checks nothing is a mistake; the error lists the checks."""
    with pytest.raises(ConfigError, match=r"as in `crossed: reject` \(checks: `crossed`, "):
        Quality()


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"crossed": "drop"}, "`crossed` of `quality`: .*'reject' or 'flag'"),
        ({"crosed": "reject"}, "`crosed`; did you mean `crossed`"),
        ({"price_band": {}}, "`price_band` of `quality` needs the setting `percent`"),
        ({"price_band": {"percent": 0}}, "greater than 0"),
        ({"price_band": {"percent": 0.00001}}, "at most four decimal places"),
        ({"price_band": {"percent": 1, "width": 2}}, "`price_band` of .* has no setting `width`"),
        ({"outlier": {"window": 2}}, "greater than or equal to 3"),
        ({"outlier": {"threshold": 1.0001}}, "at most three decimal places"),
        ({"stale": {"after": "soon"}}, "is not a duration"),
        ({"crossed": "flag", "ttl": "0s"}, "must be positive"),
    ],
)
def test_wrong_settings_are_named(checks: dict[str, Any], message: str) -> None:
    """Each with what it should be."""
    with pytest.raises(ConfigError, match=message):
        Quality(**checks)


@pytest.mark.parametrize(
    ("schema", "checks", "message"),
    [
        (TRADE, {"crossed": "flag"}, "needs the column `bid_price`"),
        (TRADE, {"stale": {"after": "1s"}}, "needs the column `bid_price`"),
        (REJECTED, {"outlier": "flag"}, "needs the column `price`"),
        (TRADE.only(["ts_event", "price"]), {"zero_size": "flag"}, "needs the column `size`"),
        (TRADE.only(["ts_event", "price"]), {"clock_skew": "flag"}, "needs the column `ts_recv`"),
        (TRADE.only(["ts_event", "price"]), {"outlier": "flag"}, "needs the column `symbol`"),
        (TRADE.having(Field("price", Kind.FLOAT)), {"outlier": "flag"}, "fixed-point number"),
        (
            QUOTE.only(["ts_event", "bid_price", "ask_price"]),
            {"zero_size": "flag"},
            "needs the column `bid_size`",
        ),
    ],
)
def test_column_that_a_check_looks_at_must_be_there(
    schema: Any, checks: dict[str, Any], message: str
) -> None:
    """It is found out before anything runs."""
    with pytest.raises(SchemaError, match=message):
        Quality(**checks).output_schemas(schema)


@pytest.mark.parametrize("name", ["quality", "reason", "detail"])
def test_column_of_the_user_is_not_replaced(name: str) -> None:
    """Rows may have a text of their own under the name of one that is added."""
    schema = TRADE.having(Field(name, Kind.ARROW, arrow=pa.string()))
    with pytest.raises(SchemaError, match=f"adds a column `{name}`.* rename it"):
        Quality(zero_size="flag").output_schemas(schema)


def test_bits_are_those_of_the_kernel() -> None:
    """The column's bits have one meaning."""
    assert {f"IS_{flaw.name}": int(flaw) for flaw in Flaw} == {
        name: getattr(kernel, name) for name in kernel.__all__ if name.startswith("IS_")
    }


def test_column_of_flags_is_there_only_where_some_check_flags() -> None:
    """Rejected rows have it always."""
    schemas = Quality(crossed="reject").output_schemas(QUOTE)
    assert schemas["out"] is QUOTE
    assert schemas["rejected"] is not None
    assert schemas["rejected"].names[-3:] == ("quality", "reason", "detail")
    flagged = Quality(crossed="reject", locked="flag").output_schemas(QUOTE)["out"]
    assert flagged is not None
    assert flagged.names[-1] == "quality"


def test_every_reason_says_what_was_found() -> None:
    """A price, a size or a time to hold the row against."""
    bad = quotes((2, 1), (1, 1), (None, 1), (1, None), (None, None))
    assert run(bad, crossed="reject", locked="reject", one_sided="reject") == [
        ("crossed", "bid 2.0 above ask 1.0"),
        ("locked", "bid and ask 1.0"),
        ("one_sided", "no bid"),
        ("one_sided", "no ask"),
        ("one_sided", "neither bid nor ask"),
    ]
    empty = quotes((1, 2), bid_size=[0], ask_size=[UNDEFINED])
    assert run(empty, zero_size="reject") == [("zero_size", "bid_size 0.0, ask_size none")]
    assert run(trades(1, size=[-UNIT // 2]), zero_size="reject") == [("zero_size", "size -0.5")]
    early = trades(1, 1, ts_event=[SECOND, 5], ts_recv=[0, 5])
    assert run(early, clock_skew="reject") == [
        ("clock_skew", "received 1970-01-01T00:00:00.000000000Z")
    ]
    assert run(early, out_of_sequence="reject") == [
        ("out_of_sequence", "came after 1970-01-01T00:00:01.000000000Z")
    ]
    assert run(quotes((1, 2), (1, 2), (1, 2)), stale={"after": "1s"}) == [
        ("stale", "unchanged since 1970-01-01T00:00:00.000000000Z")
    ]
    assert run(trades(100, 111), price_band={"percent": 10}) == [
        ("price_band", "last price 100.0")
    ]
    assert run(quotes((100, 101), (99, 202)), price_band={"percent": 10}) == [
        ("price_band", "last price 101.0")
    ]
    assert run(trades(1, 2, 3, 12), outlier={"window": 3}) == [("outlier", "median 2.0")]


def test_price_at_the_edge_of_the_band_is_inside() -> None:
    """Ten percent of 100 is 10, exactly; one unit more is outside."""
    edge = trades(100, 110, 121, 133.100000001)
    assert run(edge, price_band={"percent": 10}) == [("price_band", "last price 121.0")]


def test_band_moves_to_a_level_that_is_confirmed() -> None:
    """One bad first price does not shut out all others."""
    batch = trades(1, 100, 101, 102, 103, 55, 104)
    assert [reason for reason, _ in run(batch, price_band={"percent": 5, "confirm": 3})] == [
        "price_band"
    ] * 4


def test_step_of_a_tick_after_equal_prices_is_no_outlier() -> None:
    """The median deviation is zero there; `min_percent` says what counts at least."""
    batch = trades(*[100] * 9, 100.05, 100.2)
    found = run(batch, outlier={"window": 9})
    assert found == [("outlier", "median 100.0")]


def test_first_reason_is_told_and_all_flaws_are_in_the_mask() -> None:
    """A flag is no reason to be rejected, but is in the mask."""
    batch = quotes((100, 101), (300, 200), times=[5, 4])
    operator = Quality(
        crossed="flag", out_of_sequence="reject", price_band={"percent": 10, "do": "reject"}
    ).build(NodeContext("q"))
    (_, good), (_, bad) = operator.process(batch)
    assert good["quality"].tolist() == [0]
    assert bad["reason"].to_pylist() == ["out_of_sequence"]
    assert Flaw(int(bad["quality"][0])) == Flaw.CROSSED | Flaw.OUT_OF_SEQUENCE | Flaw.PRICE_BAND


def test_flags_of_an_earlier_operator_stay() -> None:
    """Two in a row give the flaws that either found."""
    first = Quality(crossed="flag").build(NodeContext("a"))
    second = Quality(zero_size="flag").build(NodeContext("b"))
    ((_, between),) = first.process(quotes((2, 1), bid_size=[0]))
    ((_, out),) = second.process(between)
    assert Flaw(int(out["quality"][0])) == Flaw.CROSSED | Flaw.ZERO_SIZE


def test_rejected_rows_are_counted_and_leave_the_rest_as_it_is() -> None:
    """Nothing is copied where nothing is rejected."""
    context = NodeContext("q")
    operator = Quality(crossed="reject").build(context)
    batch = quotes((1, 2))
    ((port, out),) = operator.process(batch)
    assert (port, out) == ("out", batch)
    operator.process(quotes((3, 2), (1, 2)))
    assert context.account.reasons == {"rejected": 1}


def test_batch_of_rejected_rows_only_has_no_other_output() -> None:
    """An empty batch is no batch."""
    outputs = Quality(crossed="reject").build(NodeContext("q")).process(quotes((3, 2)))
    assert [port for port, _ in outputs] == ["rejected"]


def test_row_of_the_far_future_that_is_rejected_for_it_shuts_out_no_other() -> None:
    """Rejected by one check, it is not in the memory of another."""
    batch = trades(1, 1, 1, ts_event=[1, 10**18, 2], ts_recv=[1, 2, 3])
    found = run(batch, clock_skew={"over": "1s"}, out_of_sequence="reject")
    assert [reason for reason, _ in found] == ["clock_skew"]


def test_symbol_is_forgotten_exactly_when_its_time_is_over() -> None:
    """At a watermark of `ttl` past its last row."""
    settings: dict[str, Any] = {"price_band": {"percent": 1}, "ttl": "10ns"}
    for gap, rejected in ((10, 1), (11, 0)):
        # The watermark that counts is the one before the row: another symbol brings it on.
        columns = {"ts_event": [0, gap - 1, gap], "symbol": [0, 1, 0], "price": [1, 9, 9]}
        assert len(run(batches_of(columns)[0], **settings)) == rejected


def test_state_is_bounded_by_the_symbols_alive() -> None:
    """Of a hundred thousand symbols that come once, the slots of some hundreds are kept."""
    symbols = SymbolTable()
    context = NodeContext("q", symbols=symbols)
    operator: Any = Quality(outlier={"window": 51}, ttl="100ns").build(context)
    schema = TRADE.only(["ts_event", "symbol", "price", "size"])
    for start in range(0, 100_000, 1_000):
        numbers = np.arange(start, start + 1_000)
        columns: dict[str, Any] = {
            "ts_event": numbers,
            "symbol": symbols.encode(f"S{i}" for i in numbers.tolist()),
            "price": numbers,
            "size": numbers,
        }
        plain = batches_of({**columns, "symbol": [0] * 1_000}, schema=schema)[0]
        operator.process(Batch(schema, columns, symbols, plain.progress))
    assert len(operator._checks.memory.slots) <= 1_024 * operator._checks.memory.width
    assert len(operator.snapshot().key_groups) == 100


def test_state_of_other_checks_is_refused() -> None:
    """A window of another length cannot be gone on with."""
    batch = trades(1, 2)
    first = Quality(outlier={"window": 9}).build(NodeContext("q", symbols=batch.symbols))
    first.process(batch)
    state = first.snapshot()
    with pytest.raises(SnapshotError, match="not one of `quality`"):
        Quality(outlier={"window": 7}).build(NodeContext("q")).restore(state)
    with pytest.raises(SnapshotError, match="not one of `quality`"):
        Quality(crossed="flag").build(NodeContext("q")).restore(
            Snapshot(state.key_groups, {"other": np.zeros(1)}, {})
        )


def test_columns_read_are_those_of_the_checks() -> None:
    """A source need not decode the rest."""
    read = Quality(crossed="flag").required_columns(frozenset({"symbol"}))
    assert read == frozenset({"symbol", "bid_price", "ask_price"})
    assert Quality(crossed="flag").required_columns(None) is None


def test_rows_whose_ledger_balances_come_out_of_both_doors(tmp_path: Any) -> None:
    """From Python and from YAML, with only the columns that are asked for."""
    path = tmp_path / "q.csv"
    path.write_text("ts_event,symbol,bid_price,ask_price\n1,A,2,1\n2,A,1,2\n")
    dag = mdp.Dag("d")
    stream = dag.source(mdp.ReplaySource(str(path))).quality(crossed="flag", stale={"after": "1s"})
    stream.select(["ts_event", "quality"]).collect(name="all")
    again = mdp.load(_written(tmp_path, dag.to_yaml()))
    for each in (dag, again):
        result = mdp.run(each)
        assert result.ledger.balanced
        assert result.to_arrow("all")["quality"].to_pylist() == [1, 0]
        assert result.to_arrow("all")["quality"].type == pa.int64()


def _written(folder: Any, text: str) -> Any:
    path = folder / "p.yaml"
    path.write_text(text)
    return path


def test_all_checks_of_quotes_conform() -> None:
    """Any cut of the rows and any restart gives the same, with every memory in use."""
    rng = np.random.default_rng(5)
    rows = 150
    times = np.arange(rows) * 2 + rng.integers(-9, 9, rows)
    bids = 100 + np.cumsum(rng.integers(-1, 2, rows))
    columns: dict[str, Any] = {
        "ts_event": times,
        "ts_recv": times + rng.integers(-2, 9, rows),
        "symbol": rng.integers(0, 3, rows),
        "bid_price": bids,
        "ask_price": np.where(rng.random(rows) < 0.1, UNDEFINED, bids + rng.integers(-1, 6, rows)),
        "bid_size": rng.integers(0, 9, rows),
        "ask_size": rng.integers(0, 9, rows),
    }
    batches = batches_of(columns, cuts=[10, 33, 34, 80, 120], bound=6, schema=QUOTE)
    check_operator(
        lambda: Quality(
            crossed="reject",
            locked="flag",
            one_sided="flag",
            zero_size="reject",
            clock_skew="flag",
            out_of_sequence={"over": "5ns"},
            stale={"after": "3ns", "do": "flag"},
            price_band={"percent": 4, "confirm": 2},
            outlier={"window": 5, "threshold": 1.5, "min_percent": 1},
            ttl="40ns",
        ),
        batches,
    )
