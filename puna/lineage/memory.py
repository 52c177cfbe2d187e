"""The peak memory of this process and its children while a stage runs."""

import contextlib
import os
import resource
import threading
import types
from pathlib import Path

_INTERVAL_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """`with PeakMemory() as peak: ...; peak.bytes`: largest resident memory, worker processes included.

    On Linux the kernel's high-water mark is reset at the start and the children are sampled four times a second;
    elsewhere it is the high-water mark of the process so far.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "PeakMemory":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.bytes = max(self.bytes, _high_water_bytes())

    def _sample(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self.bytes = max(self.bytes, _tree_bytes(os.getpid()))


def _high_water_bytes() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def _tree_bytes(pid: int) -> int:
    """Resident bytes of a process and its descendants (pages they share are counted once each)."""
    try:
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        tasks = os.listdir(f"/proc/{pid}/task")
        children = [c for t in tasks for c in Path(f"/proc/{pid}/task/{t}/children").read_text().split()]
    except (OSError, ValueError):
        return 0
    return total + sum(_tree_bytes(int(child)) for child in children)
