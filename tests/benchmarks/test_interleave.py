"""Turns of several trainers, by a clock that the works themselves set forward."""

import pytest

from benchmarks import interleave


class Clock:
    """Works take the seconds that they are given, turn after turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(interleave.time, "perf_counter", lambda: self.now)

    def work(self, *seconds: float):
        waits = iter(seconds)

        def run() -> float:
            self.now += next(waits)
            return 60.0

        return run


def test_ratios_are_taken_turn_by_turn_and_the_first_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, turns = Clock(monkeypatch), []
    peers = {"slow": clock.work(9, 4, 6, 10), "fast": clock.work(9, 1, 2, 3)}
    rows = interleave.compare_all(clock.work(9, 2, 3, 2), peers, 3, after_turn=lambda: turns.append(clock.now))
    assert (rows["slow"]["ours"], rows["slow"]["peer"]) == (30.0, 10.0)
    # 4 / 2, 6 / 3 and 10 / 2; 1 / 2, 2 / 3 and 3 / 2.
    assert [rows["slow"][name] for name in ("ratio", "ratio_min", "ratio_max", "runs")] == [2.0, 2.0, 5.0, 3]
    assert [rows["fast"][name] for name in ("ratio", "ratio_min", "ratio_max")] == pytest.approx([2 / 3, 0.5, 1.5])
    assert turns == [34.0, 45.0, 60.0]


def test_one_peer_is_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    row = interleave.compare(clock.work(1, 1, 1), clock.work(1, 2, 4), 2)
    assert (row["ours"], row["ratio"], row["ratio_max"]) == (60.0, 3.0, 4.0)
