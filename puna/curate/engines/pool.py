"""Chunks of records -> parts on disk, through as many cleaners as there are, whatever they run on."""

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.parts import Row, encode_part, write_part
from puna.curate.read.records import Record

_AHEAD = 2  # chunks in flight for each cleaner: bounds memory


@dataclass(frozen=True)
class Job:
    """What every cleaner is made of: settings, files of exam items, and the folder of a languages stage."""

    config: CurateConfig
    exams: Sequence[Path] = ()
    languages: Path | None = None

    def cleaner(self) -> Cleaner:
        return Cleaner(self.config, self.exams, self.languages)


@dataclass(frozen=True)
class Cleaned:
    """A part as the bytes of its file, and how many of its rows no rule has dropped."""

    part: bytes
    kept: int


class ChunkCleaner(Protocol):
    """Cleans chunks one after the other. Raises RunError if it cannot go on."""

    def clean(self, records: list[Record]) -> Cleaned: ...

    def close(self, at_once: bool) -> None: ...


def clean_record(cleaner: Cleaner, record: Record) -> Row:
    """The row of a record; one that makes the cleaner fail is set aside with the error as its reason."""
    try:
        return cleaner.clean(record)
    except MemoryError:
        problem = "no memory to clean it"
    except Exception as error:
        problem = f"cannot be cleaned ({type(error).__name__}: {' '.join(str(error).split())})"
    return cleaner.clean(replace(record, problem=problem))


def collect(rows: Iterable[Row]) -> Cleaned:
    """The part of these rows, and the processor time that making them took."""
    began = time.process_time()
    made = list(rows)
    return Cleaned(encode_part(made, time.process_time() - began), sum(1 for row in made if not row.rule))


class InProcess:
    """Cleans in this process: no start-up time, and no protection from a record that takes for ever."""

    def __init__(self, job: Job):
        self._cleaner = job.cleaner()

    def clean(self, records: list[Record]) -> Cleaned:
        return collect(clean_record(self._cleaner, record) for record in records)

    def close(self, at_once: bool) -> None:
        pass


class Pool:
    """Cleaners, each fed by a thread of its own; `after` is called when all are closed."""

    def __init__(self, cleaners: Sequence[ChunkCleaner], after: Callable[[], None] = lambda: None):
        self._cleaners, self._after = cleaners, after
        self._idle: queue.SimpleQueue[ChunkCleaner] = queue.SimpleQueue()
        for cleaner in cleaners:
            self._idle.put(cleaner)
        self._threads = ThreadPoolExecutor(len(cleaners), thread_name_prefix="curate")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for cleaner in self._cleaners:
                cleaner.close(at_once=True)
        self._threads.shutdown(wait=True, cancel_futures=True)
        if kind is None:
            for cleaner in self._cleaners:
                cleaner.close(at_once=False)
        self._after()

    def clean(self, chunks: Iterable[tuple[list[Record], Path, int]]) -> Iterator[tuple[int, int, int]]:
        """Clean chunks (records, part, position); yields (number of records, kept, position) as they are finished.

        Raises RunError if a cleaner cannot go on.
        """
        pending: set[Future[tuple[int, int, int]]] = set()
        for records, part, position in chunks:
            pending.add(self._threads.submit(self._clean, records, part, position))
            if len(pending) >= _AHEAD * len(self._cleaners):
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)

    def _clean(self, records: list[Record], part: Path, position: int) -> tuple[int, int, int]:
        cleaner = self._idle.get()
        try:
            cleaned = cleaner.clean(records)
        finally:
            self._idle.put(cleaner)
        write_part(part, cleaned.part)
        return len(records), cleaned.kept, position
