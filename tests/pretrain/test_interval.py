"""Checkpoints as often as loses least."""

import pytest

from puna.pretrain.interval import DEVICE_SECONDS_A_FAILURE, Interval, best_interval_s


@pytest.mark.parametrize("save_s, failure_s", [(0.2, 60.0), (30.0, 3 * 3600.0)])
def test_no_other_interval_loses_less(save_s: float, failure_s: float) -> None:
    """Lost a second: saving, 1 / interval times its cost, and half an interval at each failure."""

    def lost(interval: float) -> float:
        return save_s / interval + interval / 2 / failure_s

    best = best_interval_s(save_s, failure_s)
    tried = [best * (0.5 + one / 100) for one in range(151)]
    assert min(tried, key=lost) == pytest.approx(best, rel=0.01)


def test_llama_3_was_interrupted_every_three_hours() -> None:
    assert DEVICE_SECONDS_A_FAILURE / 16_384 / 3600 == pytest.approx(54 * 24 / 419) == pytest.approx(3.09, abs=0.01)


def test_auto_begins_at_once_and_goes_by_what_saving_costs() -> None:
    interval = Interval("auto", failure_s=50.0)
    assert interval.is_due()
    interval.saved(0.25)
    assert interval.seconds == 5.0 and not interval.is_due()
    assert Interval(30.0, failure_s=50.0).seconds == 30.0
    many = Interval("auto", failure_s=0.0, num_devices=16_384)
    many.saved(60.0)
    assert many.seconds == pytest.approx(best_interval_s(60.0, 54 * 86_400 / 419))
