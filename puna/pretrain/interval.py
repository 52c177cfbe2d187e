"""When the next checkpoint is due."""

import math
import time
from typing import Literal

# Llama 3 405B (section 3.3.4, table 5): 419 unplanned interruptions in 54 days of 16,384 GPUs.
DEVICE_SECONDS_A_FAILURE = 54 * 86_400 * 16_384 / 419


def best_interval_s(save_s: float, failure_s: float) -> float:
    """Seconds between checkpoints that lose least, to saving and to failures (Young 1974; Daly 2006, first order).

    save_s: for which training stands still at a checkpoint; failure_s: mean time between failures.
    """
    return math.sqrt(2 * save_s * failure_s)


class Interval:
    """setting: seconds, or "auto": the best for what saving is measured to cost; the first one comes at once then.

    failure_s: mean time between failures; 0: Llama 3's, for so many devices.
    """

    def __init__(self, setting: float | Literal["auto"], failure_s: float, num_devices: int = 1) -> None:
        self._setting = setting
        self._failure_s = failure_s or DEVICE_SECONDS_A_FAILURE / num_devices
        self._since, self._save_s = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """What it is now."""
        return best_interval_s(self._save_s, self._failure_s) if self._setting == "auto" else self._setting

    def is_due(self) -> bool:
        """Whether a checkpoint should be written now."""
        return time.monotonic() - self._since >= self.seconds

    def saved(self, save_s: float) -> None:
        """A checkpoint was written, or could not be, which took so long."""
        self._since, self._save_s = time.monotonic(), save_s
