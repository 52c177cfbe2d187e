"""Worker processes for pure functions of chunks, fed over pipes.

Each is `python -m puna.curate.worker`: it imports little and never the caller's main module, so it starts in half a
second whatever the caller has loaded, and nothing is forked under running threads.
"""

import contextlib
import os
import pickle
import queue
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from puna.base.errors import RunError
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.parts import encode_part
from puna.curate.read.records import Record

_LENGTH = struct.Struct("<Q")
_AHEAD = 2  # chunks in flight for each worker: bounds memory


def clean_chunk(cleaner: Cleaner, records: list[Record], part: Path) -> int:
    """Clean `records` into the file `part`, durably; the number of rows kept so far."""
    rows = [cleaner.clean(record) for record in records]
    temp = part.with_name(".part-" + part.name)
    with open(temp, "wb") as file:
        file.write(encode_part(rows))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, part)
    return sum(1 for row in rows if not row.rule)


class Pool:
    """`workers` processes that clean chunks; with one worker the work is done in this process."""

    def __init__(self, config: CurateConfig, workers: int, exams: Sequence[Path] = (), languages: Path | None = None):
        self._cleaner = Cleaner(config, exams, languages)
        self._processes = [_start(config, exams, languages) for _ in range(workers)] if workers > 1 else []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(max(1, workers), thread_name_prefix="curate")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(OSError):  # what a dead worker did not read cannot be flushed
                process.stdin.close()
            process.stdout.close()
            process.wait()

    def clean(self, chunks: Iterable[tuple[list[Record], Path, int]]) -> Iterator[tuple[int, int, int]]:
        """Clean chunks (records, part, position); yields (number of records, kept, position) as they are finished.

        Raises RunError if a worker dies or fails.
        """
        if not self._processes:
            for records, part, position in chunks:
                yield len(records), clean_chunk(self._cleaner, records, part), position
            return
        pending: set[Future[tuple[int, int, int]]] = set()
        for records, part, position in chunks:
            pending.add(self._threads.submit(self._send, records, part, position))
            if len(pending) >= _AHEAD * len(self._processes):
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)

    def _send(self, records: list[Record], part: Path, position: int) -> tuple[int, int, int]:
        process = self._idle.get()
        assert process.stdin is not None and process.stdout is not None
        try:
            send(process.stdin, (records, part))
            answer = receive(process.stdout)
        except (OSError, EOFError):
            raise RunError(
                f"a curation worker ended with status {process.wait()}, perhaps for want of memory: "
                "run again with fewer `workers`; finished parts are kept"
            ) from None
        self._idle.put(process)
        if isinstance(answer, str):
            raise RunError(f"a curation worker failed on {part.name}: {answer}")
        return len(records), answer, position


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


def _start(config: CurateConfig, exams: Sequence[Path], languages: Path | None) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "puna.curate.worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    send(process.stdin, (config, exams, languages))
    return process
