"""Messages: what is written comes back as it was, and what is not sound is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.adapters.serialization import (
    Format,
    dump_batch,
    dump_records,
    load_batch,
    load_records,
)
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, RecordError, SchemaError
from market_data_pipeline.records import BAR, TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import Bar, Quote

FORMATS: tuple[Format, ...] = ("json", "msgpack", "arrow")
formats = st.sampled_from(FORMATS)
each_format = pytest.mark.parametrize("how", FORMATS)

int64 = st.integers(-(2**63) + 1, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
decimals = st.decimals(
    min_value=-(10**20), max_value=10**20, allow_nan=False, allow_infinity=False, places=9
)
MIXED = Schema(
    "mixed",
    (
        *TRADE.fields,
        Field("weight", Kind.FLOAT),
        Field("good", Kind.BOOL),
        Field("note", Kind.ARROW, arrow=pa.string()),
        Field("day", Kind.ARROW, arrow=pa.date32()),
        Field("turnover", Kind.ARROW, arrow=pa.decimal128(38, 18)),
        Field("raw", Kind.ARROW, arrow=pa.binary()),
        Field("small", Kind.ARROW, arrow=pa.int16()),
    ),
)
_OF_KIND: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TIME: int64,
    Kind.INT: int64,
    Kind.FIXED: int64,
    Kind.CHAR: st.integers(0, 255),
    Kind.FLOAT: st.floats(),
    Kind.BOOL: st.booleans(),
    Kind.SYMBOL: texts,
}
_OF_NAME: dict[str, st.SearchStrategy[Any]] = {
    "note": st.none() | texts,
    "day": st.none() | st.dates(),
    "turnover": st.none()
    | st.decimals(-(10**19), 10**19, places=18, allow_nan=False, allow_infinity=False),
    "raw": st.none() | st.binary(max_size=8),
    "small": st.none() | st.integers(-(2**15), 2**15 - 1),
}


def packed(plain: Any) -> bytes:
    data: Any = msgpack.packb(plain)
    return bytes(data)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows = draw(st.integers(0, 5))
    symbols = SymbolTable(["another", "table"])
    columns: dict[str, Any] = {}
    for field in MIXED:
        of = _OF_NAME[field.name] if field.kind is Kind.ARROW else _OF_KIND[field.kind]
        values = draw(st.lists(of, min_size=rows, max_size=rows))
        if field.kind is Kind.ARROW:
            columns[field.name] = pa.array(values, field.arrow)
        elif field.kind is Kind.SYMBOL:
            columns[field.name] = symbols.encode(values)
        else:
            columns[field.name] = np.array(values, field.dtype)
    return Batch.from_columns(MIXED, columns, symbols)


def rows_of(batch: Batch) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for field in batch.schema:
        column = batch[field.name]
        values = column.to_pylist() if field.kind is Kind.ARROW else column.tolist()
        if field.kind is Kind.SYMBOL:
            values = [batch.symbols.name(code) for code in values]
        found[field.name] = ["nan" if v != v else v for v in values]  # noqa: PLR0124 - not a number
    return found


@given(batches(), formats)
def test_batch_comes_back_as_it_was(batch: Batch, how: Format) -> None:
    """To the last digit and nanosecond, also what is undefined."""
    symbols = SymbolTable(["other codes"])
    back = load_batch(dump_batch(batch, how), MIXED, symbols, how)
    assert rows_of(back) == rows_of(batch)
    assert back.schema == MIXED
    for field in MIXED:
        if field.kind is not Kind.ARROW:
            assert back[field.name].dtype == field.dtype


times = st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)).map(  # noqa: DTZ001
    lambda time: time.replace(tzinfo=UTC)
)
plain_data = st.recursive(
    st.none() | st.booleans() | int64 | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
records: st.SearchStrategy[list[Any]] = st.one_of(
    st.lists(
        st.builds(
            Bar,
            symbol=texts,
            timestamp=times,
            open=decimals,
            high=decimals,
            low=decimals,
            close=decimals,
            volume=decimals,
            vwap=st.none() | decimals,
            trade_count=st.none() | st.integers(0, 2**62),
            source=texts,
            metadata=st.none() | st.dictionaries(texts, plain_data, max_size=3),
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(
        st.builds(
            Quote, symbol=texts, timestamp=times, price=decimals, size=decimals, bid=decimals
        ),
        min_size=1,
        max_size=3,
    ),
)


@given(records, formats)
def test_records_come_back_as_they_were(given_records: list[Any], how: Format) -> None:
    """Equal, and of the same kind."""
    data = dump_records(given_records, how)
    assert load_records(data, type(given_records[0]), how) == given_records


# What is not sound


def outcome(data: bytes, how: Format) -> None:
    """Read bytes as anything there is; nothing but our own error may come of it."""
    for read in (
        lambda: load_batch(data, MIXED, SymbolTable(), how),
        lambda: load_batch(data, BAR, SymbolTable(), how),
        lambda: load_records(data, Bar, how),
    ):
        try:
            read()
        except RecordError as err:
            assert err.reason  # noqa: PT017 - what is looked at is that nothing else is raised


@given(st.binary(max_size=200), formats)
def test_any_bytes_give_only_our_error(data: bytes, how: Format) -> None:
    """Also those that are no message at all."""
    outcome(data, how)


@given(batches(), formats, st.data())
def test_damaged_message_gives_only_our_error(
    batch: Batch, how: Format, data: st.DataObject
) -> None:
    """Truncated, with bytes changed, with bytes left out."""
    good = dump_batch(batch, how)
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, len(good)))
    outcome(good[:start] + data.draw(st.binary(max_size=8)) + good[stop:], how)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.sampled_from(["1e999999999", "-", "1.", "9" * 50, "NaN", "Infinity", "٣"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*MIXED.names, "schema", "columns"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(MIXED.names), st.lists(anything, max_size=2)), formats)
def test_values_of_any_kind_give_only_our_error(columns: dict[str, Any], how: Format) -> None:
    """In the right place of a message of the right shape."""
    filled = {name: columns.get(name, [1]) for name in MIXED.names}
    plain = {"schema": "mixed", "columns": filled}
    outcome(json.dumps(plain).encode(), "json")
    outcome(packed(plain), "msgpack")


def refused(data: bytes, how: Format = "json", schema: Schema = BAR) -> str:
    with pytest.raises(RecordError) as caught:
        load_batch(data, schema, SymbolTable(), how)
    return caught.value.reason


ONE = Schema("one", (Field("n", Kind.INT), Field("price", Kind.FIXED, 2)), time="n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "malformed"),
        (b"\xff{}", "malformed"),
        ('{"schema":"one"}'.encode("utf-16"), "malformed"),
        (b'{"schema":"one","schema":"one","columns":{}}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"[]", "shape"),
        (b'{"schema":"two","columns":{"n":[1],"price":["1"]}}', "schema"),
        (b'{"schema":"one","columns":{"n":[1]}}', "schema"),
        (b'{"schema":"one","columns":{"n":[1],"price":["1"],"x":[1]}}', "schema"),
        (b'{"schema":"one","columns":{"n":[1],"price":["1","2"]}}', "shape"),
        (b'{"schema":"one","columns":{"n":"1","price":["1"]}}', "shape"),
        (b'{"schema":"one","columns":{"n":[NaN],"price":["1"]}}', "malformed"),
        (b'{"schema":"one","columns":{"n":[true],"price":["1"]}}', "type"),
        (b'{"schema":"one","columns":{"n":[1.0],"price":["1"]}}', "type"),
        (b'{"schema":"one","columns":{"n":[9223372036854775807],"price":["1"]}}', "range"),
        (b'{"schema":"one","columns":{"n":[1],"price":[1.5]}}', "type"),
        (b'{"schema":"one","columns":{"n":[1],"price":["1e3"]}}', "number"),
        (b'{"schema":"one","columns":{"n":[1],"price":["1.005"]}}', "range"),
        (b'{"schema":"one","columns":{"n":[1],"price":["92233720368547758.07"]}}', "range"),
    ],
)
def test_message_of_json_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    """One word for the kind of defect."""
    assert refused(text, schema=ONE) == reason


def test_huge_number_is_refused() -> None:
    """Before Python has spent time on it."""
    text = b'{"schema":"one","columns":{"n":[' + b"9" * 100_000 + b'],"price":["1"]}}'
    assert refused(text, schema=ONE) == "malformed"


def test_half_a_character_is_refused() -> None:
    """JSON can write it down, UTF-8 cannot."""
    text = json.dumps({"schema": "s", "columns": {"symbol": ["\ud800"]}}).encode()
    assert refused(text, schema=Schema("s", (Field("symbol", Kind.SYMBOL),), time="")) == "text"


def test_message_that_is_too_long_is_refused_unread() -> None:
    """The reader says how long it may be."""
    with pytest.raises(RecordError, match="at most 10 bytes, had 11"):
        load_batch(b"x" * 11, ONE, SymbolTable(), max_bytes=10)


def test_extension_of_msgpack_is_refused() -> None:
    """It could be anything; the time of msgpack is one, too."""
    assert refused(packed(msgpack.ExtType(5, b"x")), "msgpack") == "malformed"
    stamped = {"schema": "one", "columns": {"n": [msgpack.Timestamp(1, 2)], "price": ["1"]}}
    assert refused(packed(stamped), "msgpack", ONE) == "type"


class _Trap(pa.ExtensionType):  # type: ignore[misc]
    """An extension type that tells when Arrow makes one for a message."""

    made: list[str] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(pa.int64(), "mdp.trap")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> _Trap:
        cls.made.append("made")
        return cls()


def test_extension_type_of_arrow_is_refused_before_it_is_made() -> None:
    """Its code does not run."""
    array = pa.ExtensionArray.from_storage(_Trap(), pa.array([1], pa.int64()))
    sink = pa.BufferOutputStream()
    table = pa.table({"n": array})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    pa.register_extension_type(_Trap())
    try:
        assert refused(sink.getvalue().to_pybytes(), "arrow", ONE) == "schema"
    finally:
        pa.unregister_extension_type("mdp.trap")
    assert _Trap.made == []


def test_arrow_columns_must_be_those_of_the_schema() -> None:
    """To the type and the name of the rows."""

    def stream(name: bytes, of: pa.DataType) -> bytes:
        schema = pa.schema([("n", pa.int64()), ("price", of)], {b"mdp.schema": name})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(pa.table([[1], [None]], schema=schema))
        data: bytes = sink.getvalue().to_pybytes()
        return data

    right = pa.decimal128(38, 2)
    batch = load_batch(stream(b"one", right), ONE, SymbolTable(), "arrow")
    assert batch["price"].tolist() == [UNDEFINED]
    assert refused(stream(b"two", right), "arrow", ONE) == "schema"
    assert refused(stream(b"one", pa.float64()), "arrow", ONE) == "schema"
    assert refused(stream(b"one", pa.decimal128(38, 3)), "arrow", ONE) == "schema"


@each_format
@pytest.mark.parametrize("damage", [lambda m: m + m, lambda m: m + b"x", lambda m: m[:-8]])
def test_message_is_one_and_whole(how: Format, damage: Callable[[bytes], bytes]) -> None:
    """A second message behind it, or an end that is missing, would be rows lost unseen."""
    columns = {"n": np.array([1, 2]), "price": np.array([100, 250])}
    batch = Batch(ONE, columns, SymbolTable())
    message = dump_batch(batch, how)
    assert len(load_batch(message, ONE, SymbolTable(), how)) == 2
    assert refused(damage(message), how, ONE) == "malformed"


def test_number_of_arrow_that_is_too_large_is_refused() -> None:
    """A decimal of Arrow has twice the room."""
    schema = pa.schema(
        [("n", pa.int64()), ("price", pa.decimal128(38, 2))], {b"mdp.schema": b"one"}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table([[1], [Decimal("92233720368547758.07")]], schema=schema))
    assert refused(sink.getvalue().to_pybytes(), "arrow", ONE) == "range"


def test_message_that_is_refused_adds_no_symbols() -> None:
    """Nobody can fill the table with what is not taken."""
    symbols = SymbolTable()
    bad = {
        "schema": "bar",
        "columns": {f.name: ["x"] if f.kind is Kind.SYMBOL else [None] for f in BAR},
    }
    with pytest.raises(RecordError):
        load_batch(json.dumps(bad).encode(), BAR, symbols)
    assert len(symbols) == 0


@each_format
def test_naive_time_is_utc_and_zones_are_kept_as_instants(how: Format) -> None:
    """As everywhere."""
    one = Decimal("1.50")
    naive = datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001
    east = naive.replace(tzinfo=timezone(timedelta(hours=2)))
    quotes = [Quote("A", naive, one, one), Quote("A", east, one, one)]
    back = load_records(dump_records(quotes, how), Quote, how)
    assert back[0].timestamp == naive.replace(tzinfo=UTC)
    assert back[1].timestamp == east
    assert str(back[0].price) == "1.50"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("1e999999"), Decimal("1e-999999")])
def test_number_that_nobody_could_read_back_is_not_written(value: Decimal) -> None:
    """It is refused where it is made."""
    with pytest.raises(RecordError, match="`price` must"):
        dump_records([Quote("A", datetime(2024, 1, 1, tzinfo=UTC), value, Decimal(1))])


def test_metadata_must_be_plain_data() -> None:
    """Objects do not travel."""
    one = Decimal(1)
    quote = Quote("A", datetime(2024, 1, 1, tzinfo=UTC), one, one, metadata={"x": date.today})
    with pytest.raises(RecordError, match="must be plain data"):
        dump_records([quote])


def test_kinds_and_formats_have_names() -> None:
    """Others are refused."""
    with pytest.raises(ConfigError, match="did you mean `json`"):
        load_batch(b"", ONE, SymbolTable(), "jsn")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`Bar` or `Quote`"):
        load_records(b"", int)
    with pytest.raises(ConfigError, match="of one kind, were none"):
        dump_records([])
    nested = Schema("x", (Field("x", Kind.ARROW, arrow=pa.list_(pa.int64())),), time="")
    with pytest.raises(SchemaError, match="cannot be sent"):
        load_batch(b"{}", nested, SymbolTable())


def test_floats_that_are_no_numbers_are_text() -> None:
    """JSON has no word for them."""
    schema = Schema("f", (Field("x", Kind.FLOAT),), time="")
    batch = Batch(schema, {"x": np.array([math.nan, math.inf, -math.inf, 0.1])}, SymbolTable())
    data = dump_batch(batch)
    assert json.loads(data)["columns"]["x"] == ["nan", "inf", "-inf", 0.1]
