"""The scheduler against its invariants, under random arrivals and endings."""

from hypothesis import given
from hypothesis import strategies as st

from puna.engine.request import SamplingParams, Sequence
from puna.engine.scheduler import Scheduler


def sequence(length: int, name: int) -> Sequence:
    return Sequence([0] * length, SamplingParams(), index=name)


@given(st.integers(1, 6), st.integers(1, 60), st.data())
def test_every_sequence_keeps_its_row_or_is_moved(max_batch: int, prefill_tokens: int, data: st.DataObject) -> None:
    """A model of the cache, a list of names by row, follows the plan; each sequence must be where the plan says."""
    scheduler = Scheduler(max_batch, prefill_tokens)
    lengths = data.draw(st.lists(st.integers(1, 30), max_size=20))
    everything = [sequence(length, name) for name, length in enumerate(lengths)]
    steps_left = [data.draw(st.integers(1, 8)) for _ in everything]
    scheduler.add(everything)
    cache: list[int | None] = [None] * max_batch
    admitted: list[int] = []
    for _ in range(200):
        if not scheduler:
            break
        plan = scheduler.schedule()
        assert plan.rows
        assert len(plan.rows) <= max_batch
        before = list(cache)
        for source, target in plan.moves:
            cache[target] = before[source]
        assert [s.index for s in plan.old] == cache[: len(plan.old)]
        for row, new in enumerate(plan.new, len(plan.old)):
            cache[row] = new.index
            admitted.append(new.index)
        if len(plan.new) > 1:
            assert max(len(s.prompt) for s in plan.new) * len(plan.new) <= prefill_tokens
        for row in plan.rows:
            steps_left[row.index] -= 1
            if not steps_left[row.index]:
                row.finish_reason = "stop"
    else:
        raise AssertionError("the scheduler did not come to an end")
    assert admitted == list(range(len(everything)))  # in the order of arrival, each once


def test_a_single_request_never_waits_for_others() -> None:
    scheduler = Scheduler(max_batch=64, prefill_tokens=1000)
    scheduler.add([sequence(3, 0)])
    assert len(scheduler.schedule().new) == 1
    scheduler.add([sequence(3, 1)])
    plan = scheduler.schedule()
    assert [s.index for s in plan.old] == [0]
    assert [s.index for s in plan.new] == [1]


def test_cancelled_sequences_are_not_run() -> None:
    scheduler = Scheduler(max_batch=4, prefill_tokens=1000)
    rows = [sequence(3, name) for name in range(3)]
    rows[0].finish_reason = rows[1].finish_reason = "cancelled"
    scheduler.add(rows)
    assert [s.index for s in scheduler.schedule().rows] == [2]


def test_a_full_batch_is_refilled_by_eighths() -> None:
    scheduler = Scheduler(max_batch=16, prefill_tokens=1000)
    rows = [sequence(1, name) for name in range(40)]
    scheduler.add(rows)
    assert len(scheduler.schedule().new) == 16
    rows[3].finish_reason = "stop"
    plan = scheduler.schedule()
    assert (len(plan.new), plan.moves) == (0, [(15, 3)])
    rows[4].finish_reason = "stop"
    assert len(scheduler.schedule().new) == 2
