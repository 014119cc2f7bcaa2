"""Which figures of a bar a trade updates, by its conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.condition_tables import TABLES, table_of
from market_data_pipeline.operator.conditions import Conditions
from market_data_pipeline.records import UNDEFINED, Field, Kind
from support.operator_batches import ROW, batches_of


def _batch(field: Field, column: Any, mark: Any = None) -> Batch:
    whole = batches_of({"ts_event": list(range(len(column)))})[0]
    batch = whole.with_columns((field,), {field.name: column})
    if mark is not None:
        flags = Field("flags", Kind.INT)
        batch = batch.with_columns((flags,), {"flags": np.array(mark, np.int64)})
    return batch


def _texts(values: list[str | None], arrow: pa.DataType | None = None) -> Batch:
    kind = arrow or pa.string()
    return _batch(Field("condition", Kind.ARROW, arrow=kind), pa.array(values, kind))


def _updates(settings: Conditions, batch: Batch) -> tuple[list[int], Account]:
    context = NodeContext("c")
    settings.output_schemas(batch.schema)
    outputs = dict(settings.build(context).process(batch))
    return outputs["out"]["updates"].tolist() if "out" in outputs else [], context.account


def test_tape_letters_follow_the_consolidated_rules() -> None:
    """Of several letters the most restrictive counts; blanks are no condition."""
    rows = {
        "@": 7,
        None: 7,
        "": 7,
        "    ": 7,
        "@F": 7,
        "@ T ": 1,  # after hours
        "@  I": 1,  # odd lot
        "@4 W": 1,  # average price is stricter than derivatively priced
        "@4": 3,  # does not set the last price
        "@ Z ": 3,
        "@6 X": 7,
        "@  M": 0,  # official close of a market centre
        "@  Q": 0,
        "@9": 6,  # corrected close has no volume
        "R": 1,
    }
    found, account = _updates(Conditions(), _texts(list(rows)))
    assert dict(zip(rows, found, strict=True)) == rows
    assert account.marks == {}


def test_letter_that_the_tapes_use_differently_is_read_by_the_tape() -> None:
    """`B` is an average price on one and bunched trades on the other."""
    found = {name: table.updates("B")[0] for name, table in TABLES.items() if not table.bits}
    assert found == {"us_equity": 1, "us_equity_cts": 1, "us_equity_utp": 7}
    assert TABLES["us_equity_cts"].updates("W") == (7, False)


@pytest.mark.parametrize(
    ("text", "updates"),
    [
        ("1", 7),  # regular
        ("20000020", 7),  # sweep, exempt
        ("20002020", 1),  # extended hours
        ("4800", 3),  # sold, out of sequence
        ("20100200", 1),  # average price, derivatively priced
        ("20000200", 3),
        ("1000000", 0),  # official close
        ("4000000", 0),  # official open
        ("80000000", 1),  # odd lot
        ("0x40", 7),
        ("0", 7),
        ("", 7),
    ],
)
def test_mask_of_lean_files_is_hexadecimal(text: str, updates: int) -> None:
    """Each bit has the rule of the condition it is named after."""
    assert TABLES["lean_us_equity"].updates(text) == (updates, True)


def test_unknown_condition_takes_nothing_away_and_is_counted() -> None:
    """The row goes on; the count stands beside the account."""
    found, account = _updates(Conditions(), _texts(["@", "?", "?T", "T"]))
    assert found == [7, 7, 1, 1]
    assert account.marks == {"unknown_condition": 2}
    assert account.reasons == {}
    for text in ("40000000", "xyz", "-1"):
        assert TABLES["lean_us_equity"].updates(text)[1] is False
    assert TABLES["lean_us_equity"].updates(-1) == (7, False)


def test_unknown_condition_is_refused_by_choice() -> None:
    """Such rows go to the output `unknown` as they came."""
    settings, context = Conditions(unknown="reject"), NodeContext("c")
    outputs = dict(settings.build(context).process(_texts(["@", "?", "?T", "T"])))
    assert outputs["out"]["updates"].tolist() == [7, 1]
    assert outputs["unknown"]["condition"].to_pylist() == ["?", "?T"]
    assert "updates" not in outputs["unknown"].schema
    assert context.account.reasons == {"unknown": 2}
    operator = settings.build(context)
    assert [port for port, _ in operator.process(_texts(["?"]))] == ["unknown"]
    assert operator.process(_texts(["?"]).slice(0, 0)) == ()


def test_suspicious_row_updates_nothing() -> None:
    """The column is that of the table's files, or one that is named."""
    field = Field("condition", Kind.ARROW, arrow=pa.string())
    batch = _batch(field, pa.array(["1", "2000", "1"]), [0, 1, UNDEFINED])
    assert _updates(Conditions("lean_us_equity"), batch)[0] == [7, 0, 7]
    assert _updates(Conditions({"1": 7, "2000": 1}, suspicious="flags"), batch)[0] == [7, 0, 7]
    plain = Field("suspicious", Kind.ARROW, arrow=pa.bool_())
    told = batch.with_columns((plain,), {"suspicious": pa.array([None, False, True])})
    assert _updates(Conditions({"1": "all", "2000": "volume"}), told)[0] == [7, 1, 0]


def test_conditions_come_in_many_types() -> None:
    """Letters, numbers, dictionaries and lists of them."""
    own: dict[str, str | int | list[str]] = {
        "64": "all",
        "37": "volume",
        "12": ["volume", "high_low"],
        "0": "none",
    }
    numbers = np.array([37, 12, 64, 0, 99, UNDEFINED], np.int64)
    assert _updates(Conditions(own), _batch(Field("condition", Kind.INT), numbers))[0] == [
        *(1, 3, 7, 0, 7, 7)
    ]
    letters = np.frombuffer(b"@T\0", np.uint8)
    assert _updates(Conditions(), _batch(Field("condition", Kind.CHAR), letters))[0] == [7, 1, 7]
    indexed = pa.dictionary(pa.int32(), pa.string())
    assert _updates(Conditions(), _texts(["T", None, "@"], indexed))[0] == [1, 7, 7]
    assert _updates(Conditions(own), _texts(["37, 12", "12;64", "370"]))[0] == [1, 3, 7]
    assert _updates(Conditions(), _texts([None, None], pa.null()))[0] == [7, 7]
    lists = pa.list_(pa.string())
    column = pa.array([["@"], [], None, ["@", "T"], ["4", "@", "?"]], lists)
    field = Field("condition", Kind.ARROW, arrow=lists)
    found, account = _updates(Conditions(), _batch(field, column))
    assert (found, account.marks) == ([7, 7, 7, 1, 3], {"unknown_condition": 1})
    cut = _batch(field, column).slice(2, 5)
    assert _updates(Conditions(), cut)[0] == [7, 1, 3]


def test_table_from_a_file(tmp_path: Path) -> None:
    """Codes and three columns of yes and no."""
    path = tmp_path / "rules.csv"
    path.write_text("code,name,volume,high_low,open_close\n@,plain,yes,1,TRUE\nT,after,x,,no\n")
    assert _updates(Conditions(str(path)), _texts(["@", "@T", "Z"]))[0] == [7, 1, 7]


def test_bits_of_a_table_of_ones_own() -> None:
    """In hexadecimal, with or without `0x`."""
    table: dict[str, str | int | list[str]] = {"0x1": "all", "20": ["volume"]}
    assert _updates(Conditions(table, bits=True), _texts(["1", "0x21", "0x40"]))[0] == [7, 1, 7]
    masks = _batch(Field("condition", Kind.INT), np.array([1, 0x20, 0], np.int64))
    assert _updates(Conditions(table, bits=True), masks)[0] == [7, 1, 7]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"table": "us_equities"}, "no table `us_equities`; did you mean `us_equity`"),
        ({"table": {}}, "at least one condition"),
        ({"table": {"T": "volumes"}}, r"`table.T` must be of .*did you mean `volume`\?, was"),
        ({"table": {"T": 8}}, "`table.T` must be 0 to 7"),
        ({"table": {"30": "all"}, "bits": True}, "`table.30` must be one bit"),
        ({"table": {"T": "all"}, "bits": True}, "`table.T` must be one bit"),
        ({"table": "us_equity", "bits": True}, "`us_equity` is one of codes"),
        ({"table": "nowhere.csv"}, "nowhere.csv cannot be read"),
    ],
)
def test_table_that_cannot_be_understood_is_refused(settings: dict[str, Any], told: str) -> None:
    """Before anything runs, with the way out."""
    with pytest.raises(ConfigError, match=told):
        Conditions(**settings)


def test_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    """By its columns, or by the line that says neither yes nor no."""
    path = tmp_path / "rules.csv"
    path.write_text("code,volume\n@,1\n")
    with pytest.raises(ConfigError, match=r"needs the columns `high_low`, `open_close`"):
        table_of(str(path))
    path.write_text("code,volume,high_low,open_close\n@,1,1,maybe\n")
    with pytest.raises(ConfigError, match=r"line 2: `open_close` must be yes or no, was `maybe`"):
        table_of(str(path))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Conditions(), "needs the column `condition`"),
        (Conditions(column="note", suspicious="mark"), "needs the column `mark`"),
        (Conditions(column="price"), "reads text, letters, numbers or lists of them"),
        (Conditions(column="note", suspicious="price"), "a mark that is true, false or a number"),
    ],
)
def test_columns_that_do_not_fit_are_refused(settings: Conditions, told: str) -> None:
    """When the graph is checked."""
    with pytest.raises(SchemaError, match=told):
        settings.output_schemas(ROW)


def test_only_columns_that_are_needed_are_read() -> None:
    """The conditions, the mark, and what passes through."""
    wanted = Conditions("lean_us_equity").required_columns(frozenset({"price", "updates"}))
    assert wanted == frozenset({"price", "condition", "flags"})
    assert Conditions().required_columns(None) is None


def test_ledger_shows_what_was_marked() -> None:
    """Beside the account, which balances without it."""
    dag = mdp.Dag()
    stream = dag.source(mdp.MemorySource([_texts(["@", "?", "T"])])).conditions()
    stream.collect(name="rows")
    result = mdp.run(dag)
    assert result.ledger.to_dicts()[1]["unknown_condition"] == 1
    assert "unknown_condition" in str(result.ledger)
    assert result.ledger.balanced
    assert result.to_arrow("rows")["updates"].to_pylist() == [7, 7, 1]
