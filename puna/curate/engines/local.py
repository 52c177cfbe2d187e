"""Worker processes of this machine, fed over pipes; a record that kills its worker costs that record, not the run.

Each is `python -m puna.curate.engines.worker`: it imports little and never the caller's main module, so it starts in
half a second whatever the caller has loaded, and nothing is forked under running threads.
"""

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import IO, Any

from puna.base.errors import RunError
from puna.curate.engines.pool import Cleaned, Job
from puna.curate.read.records import Record

_LENGTH = struct.Struct("<Q")
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
_MAX_DEATHS = 2  # of a chunk whose worker was killed from outside: the third time the run gives up
NO_RECORD = -1


class WorkerProcess:
    """One worker, started anew when a record has killed it.

    A worker notes the number of the record it is at in a file of a few bytes, and a timer of the system ends it if one
    takes more than `record_seconds` of processor time, in whatever library it hangs. What killed it is set aside, and
    the chunk is done again without it.
    """

    def __init__(self, job: Job):
        self._job = job
        self._mark = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the worker)
        self.process = self._start()

    def clean(self, records: list[Record]) -> Cleaned:
        """Raises RunError if the worker fails for a reason that is no record's."""
        deaths = 0
        while True:
            answer = self._ask(records)
            if isinstance(answer, Cleaned):
                return answer
            if isinstance(answer, str):
                raise RunError(f"a curation worker failed: {answer}")
            number, status = self._at(), self.process.wait()
            problem = self._problem(status)
            if problem and number != NO_RECORD:
                records = [*records[:number], replace(records[number], problem=problem), *records[number + 1 :]]
            else:
                deaths += 1
            if deaths > _MAX_DEATHS or status >= 0:
                raise RunError(
                    f"a curation worker ended with status {status}, perhaps for want of memory: "
                    "run again with fewer `workers`; finished parts are kept"
                )
            self._end()
            self.process = self._start()

    def close(self, at_once: bool) -> None:
        """End the worker; at_once: in the middle of its work."""
        if at_once:
            self.process.kill()
        self._end()
        self._mark.close()

    def _ask(self, records: list[Record]) -> Any:
        """The worker's answer, or None if it is dead."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            send(self.process.stdin, records)
            return receive(self.process.stdout)
        except (OSError, EOFError):
            return None

    def _at(self) -> int:
        return int.from_bytes(os.pread(self._mark.fileno(), 8, 0), "little", signed=True)

    def _problem(self, status: int) -> str:
        """Why the record that the worker was at has killed it; empty if something else did."""
        if status == -signal.SIGPROF:
            return f"took over {self._job.config.record_seconds:g} s to clean"
        crash = next((crash for crash in _CRASHES if status == -crash), None)
        return f"crashed the cleaner ({crash.name})" if crash else ""

    def _end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):  # what a dead worker did not read cannot be flushed
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        os.pwrite(self._mark.fileno(), NO_RECORD.to_bytes(8, "little", signed=True), 0)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "OMP_NUM_THREADS": "1",
        }
        mark = self._mark.fileno()
        command = [sys.executable, "-m", "puna.curate.engines.worker", str(mark)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, pass_fds=(mark,))
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # a worker that dies at once is noticed when it is asked
            send(process.stdin, self._job)
        return process


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message: its length in 8 bytes, then the pickle."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message. Raises EOFError if the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)
