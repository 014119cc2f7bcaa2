"""Functions on rows, batches and frames: what they see, what they may return."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError, RecordError, SchemaError
from market_data_pipeline.operator.map import Map
from market_data_pipeline.operator.rows import CHUNK_ROWS
from market_data_pipeline.records import UNDEFINED, Field, Kind
from support.operator_batches import ROW, batches_of

ONE = 10**9


def _batch() -> Batch:
    return batches_of(
        {
            "ts_event": [10, 20, 15],
            "symbol": [0, 1, 2],
            "price": [3 * ONE // 2, UNDEFINED, 2 * ONE],
            "size": [ONE, 2 * ONE, 3 * ONE],
            "side": list(b"BAN"),
            "sequence": [1, 2, 3],
            "note": ["x", None, "z"],
        },
        bound=5,
    )[0]


def _mapped(fn: Any, batch: Batch | None = None, **settings: Any) -> Batch:
    ((_, out),) = _outputs(fn, batch, **settings)
    return out


def _outputs(fn: Any, batch: Batch | None = None, **settings: Any) -> Outputs:
    operator: Any = Map(fn, **settings).build(NodeContext("m"))
    outputs: Outputs = operator.process(batch or _batch())
    return outputs


def test_row_shows_decimals_names_letters_and_none() -> None:
    """A function sees values as people write them."""
    seen: list[Any] = []
    _outputs(lambda row: seen.append(row.to_dict()))
    assert seen[0] == {
        "ts_event": 10,
        "symbol": "AAA",
        "price": Decimal("1.5"),
        "size": Decimal(1),
        "side": "B",
        "sequence": 1,
        "note": "x",
    }
    assert seen[1]["price"] is None
    assert seen[1]["note"] is None


def test_row_is_read_by_attribute_and_by_name_whether_the_code_names_it_or_not() -> None:
    """Columns that a function names in its code are made in another way than others."""
    name = "price"

    def check(row: Any) -> None:
        assert row.size == row["size"]
        assert getattr(row, name) == row[name]
        assert "price" in row
        assert "other" not in row
        assert len(row) == 7
        assert list(row) == list(row.to_dict().values())
        assert repr(row).startswith("Row(ts_event=")

    assert _outputs(check) == ()


def test_row_cannot_be_changed() -> None:
    """What a row shows belongs to the batch."""

    def change(row: Any) -> None:
        row.price = Decimal(1)

    with pytest.raises(AttributeError) as caught:
        _outputs(change)
    assert "`m`, row 1 (ts_event 10)" in caught.value.__notes__[-1]


def test_unknown_attribute_is_explained_with_the_nearest_column() -> None:
    """A slip of the pen costs no hunt."""
    with pytest.raises(AttributeError) as caught:
        _outputs(lambda row: row.pirce)
    assert any("did you mean `price`" in note for note in caught.value.__notes__)


def test_unknown_item_is_explained_with_the_nearest_column() -> None:
    """The same by name."""
    with pytest.raises(KeyError, match="did you mean `price`"):
        _outputs(lambda row: row["pirce"])


def test_changed_row_is_a_row_that_can_be_changed_again() -> None:
    """`replace` may be called on what it returned."""

    def change(row: Any) -> Any:
        changed = row.replace(size=row.size * 2)
        assert changed.size == row.size * 2
        assert changed["size"] == changed.size
        assert changed.symbol == row.symbol
        assert changed["symbol"] == row.symbol
        assert changed != row
        assert changed == row.replace(size=row.size * 2)
        assert len(changed) == 7
        again = changed.replace(note=changed.symbol)
        with pytest.raises(AttributeError):
            again.price = 1
        return again

    out = _mapped(change)
    assert out["size"].tolist() == [2 * ONE, 4 * ONE, 6 * ONE]
    assert out["note"].to_pylist() == ["AAA", "BBB", "CCC"]


def test_columns_not_changed_are_not_copied() -> None:
    """A mapping names only what differs."""
    batch = _batch()
    out = _mapped(lambda row: {"size": row.size + 1}, batch)
    assert out["price"] is batch["price"]
    assert out["size"].tolist() == [2 * ONE, 3 * ONE, 4 * ONE]


def test_row_returned_as_it_is_stays_as_it_is() -> None:
    """Some rows changed, some not, some dropped."""

    def some(row: Any) -> Any:
        if row.sequence == 1:
            return row
        return None if row.sequence == 2 else {"size": 7, "note": None}

    operator: Any = Map(some).build(context := NodeContext("m"))
    ((_, out),) = operator.process(_batch())
    assert out["size"].tolist() == [ONE, 7 * ONE]
    assert out["note"].to_pylist() == ["x", None]
    assert context.account.reasons == {"filtered": 1}
    assert out.progress.watermarks(out.times).tolist() == [5, 15]


def test_types_of_added_columns_are_told_from_the_first_row() -> None:
    """int, float, str, bool and Decimal each have a column of their own."""
    values = {"i": 1, "f": 0.5, "t": "a", "b": True, "d": Decimal("0.25")}
    out = _mapped(lambda row: values)
    assert {f.name: f.kind for f in out.schema if f.name not in ROW} == {
        "i": Kind.INT,
        "f": Kind.FLOAT,
        "t": Kind.ARROW,
        "b": Kind.BOOL,
        "d": Kind.FIXED,
    }
    assert out["d"].tolist() == [ONE // 4] * 3


def test_declared_columns_may_be_none_in_the_first_row() -> None:
    """Where the first row cannot tell, the settings do; the schema is then known before."""
    words: Any = {"d": "decimal", "t": "text", "w": "time", "s": "symbol", "l": "letter"}
    component = Map(lambda row: {"s": "AAA", "l": "x"}, columns=words)
    schema = component.output_schemas(ROW)["out"]
    assert schema is not None
    assert schema["w"] == Field("w", Kind.TIME)
    out = _mapped(lambda row: {"s": "NEW", "l": "x"}, columns=words)
    assert out.schema == schema
    assert out["d"].tolist() == out["w"].tolist() == [UNDEFINED] * 3
    assert out["t"].null_count == 3
    assert out.symbols.name(int(out["s"][0])) == "NEW"


def test_undeclared_columns_make_the_schema_unknowable() -> None:
    """Nothing is promised that only the rows can tell."""
    assert Map(lambda row: row).output_schemas(ROW) == {"out": None}


def test_changed_event_time_leaves_the_watermarks_as_they_were() -> None:
    """A row does not become late, or others with it, by being dated anew."""
    out = _mapped(lambda row: {"ts_event": row.ts_event + 1_000})
    assert out.times.tolist() == [1_010, 1_020, 1_015]
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [5, 15, 15]


def test_results_are_rounded_half_to_even_at_the_columns_scale() -> None:
    """Quotients have no end; prices have nine places."""
    values = iter([Decimal("0.0000000005"), Decimal("0.0000000015"), Decimal(1) / 3])
    out = _mapped(lambda row: {"price": next(values)})
    assert out["price"].tolist() == [0, 2, 333_333_333]


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": 1.5}, "`price`.*float 1.5, which is not exact"),
        ({"price": "1"}, "`price` must be a Decimal"),
        ({"price": True}, "`price` must be a Decimal"),
        ({"price": Decimal("nan")}, "`price` is no number"),
        ({"price": Decimal("1e30")}, "`price` is out of range"),
        ({"price": Decimal("1e999999")}, "`price` is out of range"),
        ({"sequence": 1.0}, "`sequence` must be an int"),
        ({"sequence": "7"}, "`sequence` must be an int"),
        ({"sequence": True}, "`sequence` must be an int"),
        ({"sequence": 2**70}, "`sequence` is out of range"),
        ({"ts_event": "2024"}, "`ts_event` must be an int of nanoseconds"),
        ({"symbol": 5}, "`symbol` must be text"),
        ({"side": "BUY"}, "`side` must be one letter"),
        ({"side": "€"}, "`side` must be one letter"),
        ({"note": 5}, "`note` must be text"),
        ({"other": None}, "type of the added column `other` cannot be told"),
        (5, "must return the row"),
        ("text", "must return the row"),
    ],
)
def test_value_that_does_not_fit_names_column_and_row(
    change: Any, message: str, rows: int
) -> None:
    """Few values and many take different ways to a column; both refuse alike."""
    batch = batches_of({"ts_event": range(rows)})[0]
    with pytest.raises(RecordError, match=message) as caught:
        _outputs(lambda row: change, batch)
    assert caught.value.place == "`m`, row 1 (ts_event 0)"


def test_bad_value_in_the_middle_is_found_among_good_ones() -> None:
    """The row is counted from the first of the stream."""
    rows = CHUNK_ROWS * 2 + 10
    bad = CHUNK_ROWS + 3
    batch = batches_of({"ts_event": range(rows), "sequence": range(rows)}, cuts=[100])
    operator: Any = Map(lambda row: {"price": 0.5 if row.sequence == bad else Decimal(1)}).build(
        NodeContext("m")
    )
    operator.process(batch[0])
    with pytest.raises(RecordError, match=f"row {bad + 1} "):
        operator.process(batch[1])


def test_column_that_the_first_row_had_not_is_refused() -> None:
    """Else what a sink is given would depend on how rows were cut."""
    with pytest.raises(RecordError, match=r"row 2 .*adds the column `extra`"):
        _outputs(lambda row: {"extra": 1} if row.sequence > 1 else row)


def test_batches_longer_than_a_chunk_come_out_whole() -> None:
    """Rows are made in chunks, which nobody sees."""
    rows = CHUNK_ROWS * 3 + 1
    batch = batches_of({"ts_event": range(rows), "sequence": range(rows)})[0]
    out = _mapped(lambda row: {"sequence": row.sequence * 2}, batch)
    assert out["sequence"].tolist() == list(range(0, rows * 2, 2))
    assert out.progress is not None
    assert out.progress.column is None


def test_coroutine_function_keeps_the_order_of_rows() -> None:
    """A call that takes longer does not let others pass."""

    async def slow(row: Any) -> Any:
        for _ in range(3 - row.sequence):
            await asyncio.sleep(0)
        return {"size": row.sequence}

    operator: Any = Map(slow, concurrency=3).build(NodeContext("m"))
    ((_, out),) = asyncio.run(operator.process(_batch()))
    assert out["size"].tolist() == [ONE, 2 * ONE, 3 * ONE]


def test_error_of_a_coroutine_function_is_raised_itself() -> None:
    """Not a group of errors, whatever runs at a time."""

    async def fail(row: Any) -> Any:
        raise ZeroDivisionError(row.symbol)

    operator: Any = Map(fail, concurrency=2).build(NodeContext("m"))
    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(operator.process(_batch()))
    assert "row 1" in caught.value.__notes__[-1]


def test_function_on_batches_may_drop_and_create_rows() -> None:
    """Fewer rows are counted as filtered, more as created."""
    operator: Any = Map(
        lambda batch: batch.take(np.array([0])) if len(batch) > 1 else None, on="batches"
    ).build(context := NodeContext("m"))
    ((_, out),) = operator.process(_batch())
    assert out.times.tolist() == [10]
    assert operator.process(_batch().slice(0, 1)) == ()
    assert context.account.reasons == {"filtered": 3}
    doubled: Any = Map(
        lambda batch: Batch.concat([batch.with_progress(None)] * 2), on="batches"
    ).build(context)
    ((_, out),) = doubled.process(_batch())
    assert len(out) == 6
    assert context.account.created == 3
    assert out.watermark == 15


def test_function_on_batches_must_return_one() -> None:
    """Anything else is refused with its type."""
    with pytest.raises(SchemaError, match=r"must return a Batch.*was list"):
        _outputs(lambda batch: [], on="batches")


def test_function_on_batches_must_keep_to_its_columns() -> None:
    """A stream has one schema."""
    operator: Any = Map(
        lambda b: b if b["sequence"][0] == 1 else b.select(["ts_event"]), on="batches"
    ).build(NodeContext("m"))
    operator.process(_batch())
    with pytest.raises(SchemaError, match="earlier"):
        operator.process(_batch().slice(1, 3))


def test_columns_are_not_for_functions_on_batches() -> None:
    """A setting that would do nothing is refused."""
    with pytest.raises(ConfigError, match="`columns`"):
        Map(lambda batch: batch, on="batches", columns={"a": "int"})


def test_frame_shows_decimals_and_times_and_takes_them_back_exactly() -> None:
    """Nothing passes through a float on the way to Polars and back."""
    pl = pytest.importorskip("polars")

    def check(frame: Any) -> Any:
        assert frame.schema["price"] == pl.Decimal(38, 9)
        assert frame.schema["ts_event"] == pl.Datetime("ns", "UTC")
        assert frame["symbol"].to_list() == ["AAA", "BBB", "CCC"]
        assert frame["price"].to_list() == [Decimal("1.5"), None, Decimal(2)]
        return frame.with_columns(
            half=pl.col("size"),
            text=pl.lit("t"),
            flag=pl.col("sequence") > 1,
            ratio=pl.col("sequence") / 2,
        )

    batch = _batch()
    out = _mapped(check, batch, on="frames")
    for name in batch.schema.names:
        assert out[name].tolist() == batch[name].tolist()
    assert out.schema["half"].kind is Kind.FIXED
    assert out["flag"].tolist() == [False, True, True]
    assert out["ratio"].tolist() == [0.5, 1.0, 1.5]
    assert out["text"].type == pa.string()


def test_frame_rows_keep_their_watermarks_when_filtered_and_sorted() -> None:
    """The position column tells which row is which; none becomes late by moving."""
    pytest.importorskip("polars")
    out = _mapped(lambda frame: frame.filter(frame["sequence"] > 1), on="frames")
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [15, 15]
    out = _mapped(lambda frame: frame.sort("sequence", descending=True), on="frames")
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [5, 5, 5]


def test_frame_without_positions_is_the_same_rows_or_new_ones() -> None:
    """As many rows are taken for the same; fewer get the watermark before the batch."""
    pytest.importorskip("polars")
    out = _mapped(lambda frame: frame.drop("__row__"), on="frames")
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [5, 15, 15]
    out = _mapped(lambda frame: frame.drop("__row__").head(1), on="frames")
    assert out.progress is not None
    assert out.progress.watermarks(out.times).tolist() == [out.progress.before]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda pl: {"price": pl.col("price").cast(pl.Float64)}, "floats are not exact"),
        (lambda pl: {"symbol": pl.lit(None, pl.String)}, "null"),
        (lambda pl: {"side": pl.lit("BUY")}, "a letter is needed"),
        (lambda pl: {"sequence": pl.lit(0.5)}, "must stay one"),
        (lambda pl: {"__row__": pl.lit(99)}, "must be left as it is"),
        (lambda pl: {"ts_event": pl.lit("noon")}, "times are"),
    ],
)
def test_frame_column_that_cannot_be_taken_is_refused(spoil: Any, message: str) -> None:
    """The error names the column and its type."""
    pl = pytest.importorskip("polars")
    with pytest.raises(SchemaError, match=message):
        _outputs(lambda frame: frame.with_columns(**spoil(pl)), on="frames")


def test_frame_without_event_time_is_refused() -> None:
    """The nodes behind cannot do without."""
    pytest.importorskip("polars")
    with pytest.raises(SchemaError, match="`ts_event`, the event time"):
        _outputs(lambda frame: frame.drop("ts_event"), on="frames")
