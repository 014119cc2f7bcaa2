"""Dedupe: keys, TTL, what is counted, what is saved, what is refused."""

from __future__ import annotations

import mmh3
import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SchemaError, SnapshotError
from market_data_pipeline.kernels.murmur import hash_bytes
from market_data_pipeline.operator.dedupe import Dedupe
from market_data_pipeline.records import REJECTED, TRADE
from market_data_pipeline.symbols import key_group_of
from support.operator_batches import batches_of


def _sequences(outputs: object, port: str) -> list[int]:
    assert isinstance(outputs, tuple)
    return [n for name, batch in outputs if name == port for n in batch["sequence"].tolist()]


def test_key_is_needed_because_content_is_none() -> None:
    """Without a key the error says what to write and why content will not do."""
    with pytest.raises(ConfigError, match="content of a row is no key") as caught:
        Dedupe()
    assert caught.value.parameter == "key"


@pytest.mark.parametrize("ttl", ["0s", "-1s"])
def test_ttl_must_be_positive(ttl: str) -> None:
    """A memory of no length would let every duplicate through."""
    with pytest.raises(ConfigError):
        Dedupe(["sequence"], ttl=ttl)


def test_key_column_that_is_missing_is_named_with_the_nearest() -> None:
    """The schema is checked before anything runs."""
    with pytest.raises(SchemaError, match="`sequense`; did you mean `sequence`"):
        Dedupe(["symbol", "sequense"]).output_schemas(TRADE)


def test_rows_without_event_time_cannot_be_deduplicated_for_a_time() -> None:
    """There is no watermark to forget by."""
    with pytest.raises(SchemaError, match="event time"):
        Dedupe(["row"]).output_schemas(REJECTED)


def test_key_is_forgotten_exactly_when_the_watermark_reaches_its_expiry() -> None:
    """At watermark 19 of `0 + 20` a row is a duplicate, at 20 it is none."""
    columns = {"ts_event": [0, 19, 20, 20], "sequence": [1, 1, 2, 1]}
    context = NodeContext("d")
    outputs = Dedupe(["sequence"], ttl="20ns").build(context).process(batches_of(columns)[0])
    assert _sequences(outputs, "out") == [1, 2, 1]
    assert context.account.reasons == {"duplicate": 1}


def test_duplicate_does_not_lengthen_the_memory_of_its_key() -> None:
    """Only a row let through starts the time anew."""
    columns = {"ts_event": [0, 8, 12, 12], "sequence": [1, 1, 9, 1]}
    outputs = (
        Dedupe(["sequence"], ttl="10ns").build(NodeContext("d")).process(batches_of(columns)[0])
    )
    assert _sequences(outputs, "out") == [1, 9, 1]


def test_batch_without_duplicates_is_passed_on_as_it_is() -> None:
    """Nothing is copied where nothing is dropped."""
    batch = batches_of({"ts_event": [1, 2], "sequence": [1, 2]})[0]
    ((port, out),) = Dedupe(["sequence"]).build(NodeContext("d")).process(batch)
    assert port == "out"
    assert out is batch


def test_rows_without_watermarks_are_never_forgotten() -> None:
    """Where no source has set progress, nothing can expire."""
    batch = batches_of({"ts_event": [1, 10**15], "sequence": [1, 1]})[0]
    bare = Batch(batch.schema, batch.columns, batch.symbols)
    outputs = Dedupe(["sequence"], ttl="1ns").build(NodeContext("d")).process(bare)
    assert _sequences(outputs, "duplicate") == [1]


def test_event_times_at_the_ends_of_their_range_do_not_wrap() -> None:
    """An expiry past the last instant stays at the last instant."""
    far = 2**63 - 2
    columns = {"ts_event": [far, far, -(2**63) + 1], "sequence": [1, 1, 2]}
    outputs = (
        Dedupe(["sequence"], ttl="10d").build(NodeContext("d")).process(batches_of(columns)[0])
    )
    assert _sequences(outputs, "out") == [1, 2]


def test_duplicates_that_nobody_reads_are_counted_and_not_made() -> None:
    """What the graph does not connect costs nothing and is in the account all the same."""
    batch = batches_of({"ts_event": [1, 2, 3], "sequence": [1, 1, 2]})[0]
    context = NodeContext("d", reads=frozenset({"out"}))
    ((port, out),) = Dedupe(["sequence"]).build(context).process(batch)
    assert (port, out["sequence"].tolist()) == ("out", [1, 2])
    assert context.account.reasons == {"duplicate": 1}


def test_state_holds_names_and_the_key_group_of_the_symbol() -> None:
    """Codes mean nothing outside a run."""
    columns = {"ts_event": [1, 2], "symbol": [2, 0], "sequence": [5, 6]}
    batch = batches_of(columns)[0]
    operator = Dedupe(["sequence", "symbol"]).build(NodeContext("d", symbols=batch.symbols))
    operator.process(batch)
    state = operator.snapshot()
    rows = set(zip(state.keyed["first"].tolist(), state.keyed["second"].tolist(), strict=True))
    assert rows == {("CCC", 5), ("AAA", 6)}
    groups = dict(zip(state.keyed["first"].tolist(), state.key_groups.tolist(), strict=True))
    assert groups == {name: key_group_of(name) for name in ("AAA", "CCC")}


def test_fingerprint_of_a_key_with_a_symbol_is_in_the_symbols_key_group() -> None:
    """Whoever spreads rows by symbol spreads the state with them."""
    columns = {"ts_event": [1, 2, 3], "symbol": [0, 1, 2], "sequence": [5, 6, 7]}
    batch = batches_of(columns)[0]
    operator = Dedupe(["symbol", "sequence", "note"]).build(
        NodeContext("d", symbols=batch.symbols)
    )
    operator.process(batch)
    found = sorted(operator.snapshot().key_groups.tolist())
    assert found == sorted(key_group_of(name) for name in ("AAA", "BBB", "CCC"))


def test_state_of_another_key_is_refused() -> None:
    """Keys of other columns would be taken for these."""
    with pytest.raises(SnapshotError, match="`price`"):
        Dedupe(["sequence"]).build(NodeContext("d")).restore(Snapshot(scalars={"key.price": 0}))


def test_wanted_columns_are_those_behind_and_the_key() -> None:
    """A source need not read what nobody looks at."""
    dedupe = Dedupe(["symbol", "sequence"])
    assert dedupe.required_columns(frozenset({"price"})) == frozenset(
        {"price", "symbol", "sequence"}
    )
    assert dedupe.required_columns(None) is None


def test_fingerprints_are_those_of_murmur3() -> None:
    """The hash of our kernel is the published one, at every length."""
    texts = [bytes(range(length)) for length in range(70)]
    offsets = np.cumsum([0, *map(len, texts)])
    first, second = np.empty(70, np.int64), np.empty(70, np.int64)
    hash_bytes(np.frombuffer(b"".join(texts), np.uint8), offsets, first, second)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [
        mmh3.hash64(text) for text in texts
    ]
