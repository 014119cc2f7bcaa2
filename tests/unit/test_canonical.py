"""The canonical hash."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pyarrow as pa
import pytest

from market_data_pipeline.canonical import canonical_hash, canonical_lines


def _table() -> pa.Table:
    return pa.table(
        {
            "symbol": ["B", "A", "A"],
            "ts": pa.array([3, 1, 2], pa.timestamp("ns", "UTC")),
            "price": [1.5, 0.000000001, None],
        }
    )


def test_hash_is_that_of_the_documented_text() -> None:
    """Anybody can compute it with a JSON writer, a sort and SHA-256."""
    text = (
        '["price","symbol","ts"]\n'
        '[0.000000001,"A","1970-01-01T00:00:00.000000001Z"]\n'
        '[1.5,"B","1970-01-01T00:00:00.000000003Z"]\n'
        '[null,"A","1970-01-01T00:00:00.000000002Z"]\n'
    )
    assert canonical_hash(_table()) == hashlib.sha256(text.encode()).hexdigest()


def test_order_chunks_and_encoding_do_not_matter() -> None:
    """Equal rows give an equal hash, however they are held."""
    table = _table()
    wanted = canonical_hash(table)
    assert canonical_hash(table.take([2, 0, 1])) == wanted
    assert canonical_hash(table.select(["ts", "price", "symbol"])) == wanted
    assert canonical_hash(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == wanted
    encoded = table.set_column(0, "symbol", table["symbol"].dictionary_encode())
    assert canonical_hash(encoded) == wanted
    padded = pa.concat_tables([table.slice(1, 1), table, table.slice(0, 1)])
    assert canonical_hash(padded.slice(1, 3)) == wanted


def test_type_of_a_number_does_not_matter() -> None:
    """A price is the same as a float, a decimal, or an integer."""
    floats = pa.array([1e-9, 100.0, 0.1, -0.0, 1e15, -2.5e20])
    texts = ["0.000000001", "100", "0.1", "0", "1000000000000000", "-250000000000000000000"]
    decimals = pa.array([Decimal(text) for text in texts], pa.decimal128(38, 9))
    assert canonical_hash(pa.table({"x": floats})) == canonical_hash(pa.table({"x": decimals}))
    whole = pa.table({"x": pa.array([1, 100])})
    assert canonical_hash(whole) == canonical_hash(pa.table({"x": [1.0, 100.0]}))


def test_unit_and_zone_of_times_do_not_matter() -> None:
    """A time without a zone is UTC."""
    micros = pa.table({"ts": pa.array([1_700_000_000_000_000], pa.timestamp("us"))})
    nanos = pa.table({"ts": pa.array([1_700_000_000_000_000_000], pa.timestamp("ns", "UTC"))})
    assert canonical_hash(micros) == canonical_hash(nanos)


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"x": [1, 1, 3]}),
        pa.table({"x": [1, 1]}),
        pa.table({"x": [1, 1, 2, 2]}),
        pa.table({"y": [1, 1, 2]}),
        pa.table({"x": ["1", "1", "2"]}),
        pa.table({"x": [1, 1, None]}),
        pa.table({"x": [1, 1, 2.0000000000000004]}),
    ],
)
def test_any_difference_changes_the_hash(other: pa.Table) -> None:
    """Another value, another number of equal rows, another name, another kind."""
    assert canonical_hash(other) != canonical_hash(pa.table({"x": [1, 1, 2]}))


def test_columns_do_not_run_into_each_other() -> None:
    """Text that looks like the end of a value is still one value."""
    one = pa.table({"a": ['x","y'], "b": ["z"]})
    two = pa.table({"a": ["x"], "b": ['y","z']})
    assert canonical_hash(one) != canonical_hash(two)


def test_empty_tables() -> None:
    """No rows, or no columns, have a hash as well."""
    assert canonical_hash(pa.table({})) != canonical_hash(_table().slice(0, 0))
    assert canonical_lines(_table().slice(0, 0)).to_pylist() == []
