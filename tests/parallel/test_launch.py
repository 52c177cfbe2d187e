"""The supervisor: ranks that die, hang or are stopped start again, all of them, and end as if nothing had been."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import ConfigError, RunError, StoppedError
from puna.parallel.heartbeat import Heartbeats, Pulse
from puna.parallel.launch import Event, launch, recorder_name, stacks_name
from puna.parallel.watchdog import Limits, Stragglers, Watchdog, process_state
from tests.parallel.fake_training import expected

FUNCTION = "tests.parallel.fake_training:train"
QUICK = Limits(silence_s=60.0, pause_s=600.0, first_s=600.0, stopped_s=1.0)
NUM_STEPS = 10


def run(folder: Path, faults: dict[str, tuple[str, int, int]], world_size: int = 2, **more: Any) -> list[Event]:
    """Events of a run under the supervisor, whose result must be that of an undisturbed one."""
    events: list[Event] = []
    arguments = (folder, NUM_STEPS, faults)
    settings = {"limits": QUICK, "on_event": events.append, **more}
    assert launch(FUNCTION, arguments, world_size, folder / "watch", **settings) == expected(NUM_STEPS, world_size)
    return events


@pytest.mark.parametrize("world_size", [1, 2])
def test_nothing_happens_in_an_undisturbed_run(tmp_path: Path, world_size: int) -> None:
    messages: list[Any] = []
    assert run(tmp_path, {}, world_size, on_message=messages.append) == []
    assert messages == [{"rank": 0, "step": step} for step in range(1, NUM_STEPS + 1)]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_takes_all_back_to_what_was_saved(tmp_path: Path, rank: int) -> None:
    [event] = run(tmp_path, {"once": ("kill", rank, 7)})
    assert (event.cause, event.rank, event.step) == ("killed", rank, 6)
    assert "killed by SIGKILL" in event.detail and 0 < event.lost_s < 60


def test_a_stopped_rank_is_found_and_named_not_the_one_that_waits_for_it(tmp_path: Path) -> None:
    [event] = run(tmp_path, {"once": ("freeze", 1, 4)})
    assert (event.cause, event.rank, event.step) == ("frozen", 1, 3)
    assert event.lost_s > QUICK.stopped_s


def test_a_hung_rank_leaves_its_stacks_and_the_others_collectives(tmp_path: Path) -> None:
    [event] = run(tmp_path, {"once": ("hang", 1, 5)}, limits=Limits(silence_s=8.0, pause_s=120.0))
    assert event.cause == "hung" and stacks_name(event.rank) in event.detail
    kept = tmp_path / "watch" / "hung"
    assert "fake_training.py" in (kept / stacks_name(1)).read_text() and "_do" in (kept / stacks_name(1)).read_text()
    assert "all_reduce" in (kept / recorder_name(0)).read_text()


def test_several_failures_of_one_run(tmp_path: Path) -> None:
    faults = {"one": ("kill", 0, 2), "two": ("raise", 1, 5), "three": ("kill", 1, 8)}
    assert [event.cause for event in run(tmp_path, faults)] == ["killed", "crashed", "killed"]


def test_a_failure_during_a_restart_is_counted_too(tmp_path: Path) -> None:
    events = run(tmp_path, {"one": ("kill", 0, 4), "two": ("raise", 0, 3), "three": ("raise", 0, 3)}, 1)
    assert [event.cause for event in events] == ["crashed", "crashed", "killed"]


def test_a_rank_that_always_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"4 starts ended at step 4 or before: rank 1: ValueError: the wheel came off"):
        run(tmp_path, {"always": ("raise", 1, 4)})
    assert "Traceback" in (tmp_path / "watch/error-1.txt").read_text()


def test_bad_input_is_not_tried_again(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(ConfigError, match="lr: expected less, came more"):
        run(tmp_path, {"always": ("refuse", 0, 2)}, on_event=events.append)
    assert events == []


def test_told_to_stop_the_ranks_save_and_leave(tmp_path: Path) -> None:
    def stop(message: dict[str, int]) -> None:
        if message["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match=r"saved after step \d+"):
        launch(FUNCTION, (tmp_path, 10**6, {}), 2, tmp_path / "watch", on_message=stop, limits=QUICK)
    assert signal.getsignal(signal.SIGTERM) is before and (tmp_path / "saved.json").exists()
    step = int(eval((tmp_path / "saved.json").read_text())[0])
    launch(FUNCTION, (tmp_path, step + 2, {}), 2, tmp_path / "watch", limits=QUICK)


def test_ranks_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    """Not even one that is stopped, whose threads can't see that the pipe has closed."""
    process = multiprocessing.get_context("spawn").Process(target=_supervise, args=(tmp_path,))
    process.start()
    try:
        _wait_for(lambda: (tmp_path / "number").exists())
        rank = int((tmp_path / "number").read_text())
        os.kill(rank, signal.SIGSTOP)
        _wait_for(lambda: process_state(rank) == "T")
    finally:
        process.kill()
        process.join()
    _wait_for(lambda: process_state(rank) in "?ZX")


def _supervise(folder: Path) -> None:
    launch("tests.parallel.fake_training:orphan", (folder / "number",), 1, folder / "watch")


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_straggler_is_named_once_a_window(tmp_path: Path) -> None:
    beats = Heartbeats(tmp_path / "beats", 3, create=True)
    stragglers = Stragglers(beats, Limits(window=10, slow=1.5))
    found = []
    for step in range(1, 31):
        for rank, own in enumerate((0.1, 0.12, 0.3)):
            beats.write(rank, steps=step, own_s=step * own)
        found += [(step, rank, round(own, 6), round(usual, 6)) for rank, own, usual in stragglers.found()]
    assert found == [(10, 2, 0.3, 0.12), (20, 2, 0.3, 0.12), (30, 2, 0.3, 0.12)]


def test_a_rank_that_only_waits_for_others_is_no_straggler(tmp_path: Path) -> None:
    """Both ranks' steps are as long; one burns its core, the other sleeps in the collective."""
    faults = {f"slow-{step}": ("burn", 1, step) for step in range(NUM_STEPS)}
    events = run(tmp_path, faults, limits=Limits(window=3, silence_s=60.0, pause_s=600.0))
    assert {(event.cause, event.rank) for event in events} == {("straggler", 1)}


def test_a_phase_may_take_ten_times_as_long_as_it_did(tmp_path: Path) -> None:
    beats = Heartbeats(tmp_path / "beats", 1, create=True)
    limits = Limits(silence_s=5.0, silence_factor=10.0, pause_s=30.0, first_s=300.0)
    beats.write(0, step_times=4, step_seconds=8.0, saving_times=1, saving_seconds=0.1)
    assert [limits.silence(beats, phase) for phase in ("starting", "step", "saving")] == [300.0, 20.0, 30.0]
    beats.write(0, step_seconds=0.4, saving_seconds=9.0)
    assert [limits.silence(beats, phase) for phase in ("step", "saving")] == [5.0, 90.0]


def test_starting_lasts_from_the_start_of_the_process_to_the_first_step(tmp_path: Path) -> None:
    """Imports and packing come before the rank can tell anything; a limit that left them out would kill every start."""
    beats = Heartbeats(tmp_path / "beats", 1, create=True)
    beats.clear(0)
    beats.write(0, at=beats.read(0, "at") - 100.0)  # the process was started so long ago
    Pulse(beats, 0).enter("step", 0)
    assert 100.0 <= (beats.mean_s("starting") or 0.0) < 160.0


def test_a_supervisor_that_was_held_up_itself_blames_nobody(tmp_path: Path) -> None:
    beats = Heartbeats(tmp_path / "beats", 1, create=True)
    beats.write(0, step_times=1, step_seconds=0.1, phase=1)
    dog, pids = Watchdog(beats, Limits(silence_s=5.0), 0.0), {0: os.getpid()}
    assert dog.silent(pids, 100.0) is None
    assert all(dog.silent(pids, 100.0 + tenth / 10) is None for tenth in range(50))
    late = dog.silent(pids, 105.3)
    assert late and late.rank == 0 and not late.stopped
