"""The queue in front of a store: no batch is lost, doubled or overtaken, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.errors import SinkError
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.write_queue import DeadBatch, QueuePolicy, WriteQueue
from support.manual_clock import ManualClock

ATTEMPTS = 3


@dataclass(frozen=True)
class Item:
    """One batch of the script: which, of what key, how it fares, how long a write takes."""

    number: int
    key: int
    fails: int
    permanent: bool
    turns: int


@dataclass
class Store:
    """What the batches are written to."""

    written: list[Item] = field(default_factory=list)
    attempts: Counter[int] = field(default_factory=Counter)
    at_work: Counter[int] = field(default_factory=Counter)

    async def deliver(self, items: Sequence[Any]) -> int:
        item: Item = items[0]
        self.at_work[item.key] += 1
        assert self.at_work[item.key] == 1, "two batches of one key are written at a time"
        try:
            for _ in range(item.turns):
                await asyncio.sleep(0)
        finally:
            self.at_work[item.key] -= 1
        self.attempts[item.number] += 1
        if self.attempts[item.number] <= item.fails:
            raise (ValueError if item.permanent else TimeoutError)(item.number)
        self.written.append(item)
        return len(items)


@dataclass(frozen=True)
class Script:
    """What happens to the queue."""

    workers: int
    capacity: int
    policy: QueuePolicy
    items: list[Item]
    pauses: list[int]
    drain: bool
    flush: bool
    lay_aside: Literal["none", "all", "broken"]


def make_items(raw: list[tuple[int, int, bool, int, int]]) -> list[Item]:
    return [
        Item(number, key, fails, permanent, turns)
        for number, (key, fails, permanent, turns, _) in enumerate(raw)
    ]


raw_items = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 0, 0, 1, 2, 5]),
        st.booleans(),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=14,
)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    raw = draw(raw_items)
    return Script(
        draw(st.integers(0, 3)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from(["block", "drop_oldest", "drop_newest"])),
        make_items(raw),
        [pause for *_, pause in raw],
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["none", "all", "broken"])),
    )


@given(scripts())
def test_every_batch_ends_once_and_is_counted(script: Script) -> None:
    """Written, failed or dropped; drops only where the policy says; order within a key."""
    asyncio.run(check(script))


async def check(script: Script) -> None:
    store, dead = Store(), list[DeadBatch]()

    def lay_aside(batch: DeadBatch) -> None:
        if script.lay_aside == "broken":
            msg = "the folder is full"
            raise OSError(msg)
        dead.append(batch)

    queue = WriteQueue(
        store.deliver,
        name="Store",
        capacity=script.capacity,
        workers=script.workers,
        policy=script.policy,
        retry=RetryPolicy(ATTEMPTS),
        keys=lambda items: [items[0].key],
        dead_letters=None if script.lay_aside == "none" else lay_aside,
        clock=ManualClock(),
    )
    queue.start()
    full = 0
    raised = False
    for item, pause in zip(script.items, script.pauses, strict=True):
        full += queue.queue.full()
        assert queue.queue.qsize() <= script.capacity
        await queue.put([item])
        for _ in range(pause):
            await asyncio.sleep(0)
    dropped_for_room = queue.counters.batches_dropped
    assert dropped_for_room == (0 if script.policy == "block" else full)
    if script.flush:
        raised = await ends(queue.flush())
        assert queue.queue.empty()
        assert queue.in_flight == 0
    raised |= await ends(queue.close(drain=script.drain))
    account(script, queue, store, dead, raised=raised)
    if script.drain or script.flush:
        assert queue.counters.batches_dropped == dropped_for_room
    elif script.policy == "block" and script.workers == 0:
        assert queue.counters.batches_dropped <= script.capacity
    assert all(worker.done() for worker in queue.workers)


async def ends(work: Any) -> bool:
    """Tell whether it raised what it should."""
    try:
        await work
    except SinkError:
        return True
    return False


def account(
    script: Script, queue: WriteQueue, store: Store, dead: list[DeadBatch], *, raised: bool
) -> None:
    counts = queue.counters
    assert counts.batches_in == counts.items_in == len(script.items)
    assert (
        counts.batches_in
        == counts.batches_written + counts.batches_failed + counts.batches_dropped
    )
    assert counts.items_written == counts.batches_written == len(store.written)
    assert max(Counter(item.number for item in store.written).values(), default=1) == 1
    bad = {i.number for i in script.items if i.fails and (i.permanent or i.fails >= ATTEMPTS)}
    tried = set(store.attempts)
    written = {item.number for item in store.written}
    assert not written & bad
    # A close without `drain` ends what is being tried again.
    failed = tried - written
    assert failed >= tried & bad
    assert failed == tried & bad or not script.drain
    assert counts.batches_failed == len(failed)
    assert counts.retries == sum(store.attempts.values()) - len(tried)
    assert counts.batches_dropped == len(script.items) - len(tried)
    assert counts.dead_lettered == len(dead)
    if script.lay_aside == "all":
        assert {letter.items[0].number for letter in dead} == failed
        assert not raised
    else:
        assert raised == bool(failed)
    for key in range(3):
        of_key = [item.number for item in store.written if item.key == key]
        assert of_key == sorted(of_key)


@pytest.mark.parametrize("drain", [True, False])
def test_close_gives_up_a_store_that_hangs(drain: bool) -> None:
    """What is not written by then is counted, told and not waited for."""

    async def hang(items: Sequence[Any]) -> int:
        await asyncio.get_running_loop().create_future()
        return len(items)

    async def run() -> WriteQueue:
        queue = WriteQueue(hang, name="Store", capacity=2, workers=1)
        queue.start()
        await queue.put([1])
        await asyncio.sleep(0)
        await queue.put([2])
        await queue.put([3])
        with pytest.raises(SinkError, match="given up after 0"):
            await queue.close(drain=drain, timeout_s=0.01)
        return queue

    queue = asyncio.run(run())
    assert queue.counters.batches_dropped == 3


@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("drain", [True, False])
def test_those_who_wait_for_room_are_not_forgotten_by_close(drain: bool, turns: int) -> None:
    """With `drain` their batches are written; without it they are told."""
    store = Store()

    async def run() -> tuple[WriteQueue, list[str]]:
        queue = WriteQueue(store.deliver, name="Store", capacity=1, workers=1)
        queue.start()
        told: list[str] = []

        async def put(number: int) -> None:
            try:
                await queue.put([Item(number, 0, 0, permanent=False, turns=turns)])
            except SinkError as err:
                told.append(str(err))

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(put(number))
            await asyncio.sleep(0)
            await queue.close(drain=drain)
        return queue, told

    queue, told = asyncio.run(run())
    counts = queue.counters
    assert counts.batches_in == 5 == counts.batches_written + counts.batches_dropped
    assert len(store.written) == counts.batches_written
    assert bool(told) is not drain
    if drain:
        assert counts.batches_written == 5


def test_writer_that_is_cancelled_while_it_waits_is_not_counted() -> None:
    """Its batch was never taken."""

    async def run() -> WriteQueue:
        queue = WriteQueue(Store().deliver, name="Store", capacity=1, workers=1)
        queue.start()
        await queue.put([Item(0, 0, 0, permanent=False, turns=3)])
        waiting = asyncio.create_task(queue.put([Item(1, 0, 0, permanent=False, turns=0)]))
        waiting.cancel()
        await asyncio.wait([waiting])
        await queue.close(drain=True)
        return queue

    counts = asyncio.run(run()).counters
    assert (counts.batches_in, counts.batches_written) == (1, 1)
