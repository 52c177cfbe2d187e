"""Worker processes: the same parts as in this process, and a record that kills its worker costs that record alone."""

import hashlib
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.base.errors import RunError
from puna.curate.clean import Cleaner, CurateConfig
from puna.curate.engines import worker
from puna.curate.engines.local import WorkerProcess
from puna.curate.engines.pool import InProcess, Job, Pool, clean_record
from puna.curate.parts import Row
from puna.curate.read.records import Record
from tests.curate.pages import html_page, sentences

RECORDS = [Record("source", f"{i}", "html", html_page(sentences(i, 8))) for i in range(5)]


class Trap(Cleaner):
    """Does what a poisoned page asks of the libraries: hang in C, crash, want all memory, or raise."""

    def clean(self, record: Record) -> Row:
        if not record.problem:
            if b"HANG" in record.body:  # type: ignore[operator]
                hash_for_ever = b"x" * 10**8
                while True:
                    hashlib.sha256(hash_for_ever)
            if b"CRASH" in record.body:  # type: ignore[operator]
                os.kill(os.getpid(), signal.SIGSEGV)
            if b"MEMORY" in record.body:  # type: ignore[operator]
                bytearray(10**13)
            if b"RAISE" in record.body:  # type: ignore[operator]
                raise ValueError("two\nlines")
            if b"KILL" in record.body:  # type: ignore[operator]
                os.kill(os.getpid(), signal.SIGKILL)
        return super().clean(record)


class TrapJob(Job):
    def cleaner(self) -> Cleaner:
        return Trap(self.config)


def poisoned(word: str) -> Record:
    return Record("source", word, "html", html_page(f"{word} {sentences(99, 8)}"))


def rules(job: Job, records: list[Record], tmp_path: Path) -> list[str]:
    process = WorkerProcess(job)
    try:
        (tmp_path / "part.parquet").write_bytes(process.clean(records).part)
    finally:
        process.close(at_once=False)
    rows = {row["locator"]: row["rule"] for row in pq.read_table(tmp_path / "part.parquet").to_pylist()}
    return [rows[record.locator] for record in records]


def test_the_same_part_as_in_this_process() -> None:
    job = Job(CurateConfig(gopher_repetition={"top_ngrams": {}, "duplicate_ngrams": {}}))  # type: ignore[arg-type]
    process = WorkerProcess(job)
    try:
        ours, theirs = (pq.read_table(pa.BufferReader(one.clean(RECORDS).part)) for one in (process, InProcess(job)))
        assert ours.equals(theirs) and len(ours) == 5
        assert process.clean(RECORDS[:1]).kept == 1
    finally:
        process.close(at_once=False)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("HANG", "read:took over 0.5 s to clean"),
        ("CRASH", "read:crashed the cleaner (SIGSEGV)"),
        ("MEMORY", "read:no memory to clean it"),
        ("RAISE", "read:cannot be cleaned (ValueError: two lines)"),
    ],
)
def test_a_poisoned_record_is_set_aside_and_the_others_are_cleaned(tmp_path: Path, word: str, reason: str) -> None:
    records = [*RECORDS[:2], poisoned(word), *RECORDS[2:], poisoned(f"{word} again")]
    found = rules(TrapJob(CurateConfig(record_seconds=0.5, rules=())), records, tmp_path)
    assert found == ["", "", reason, "", "", "", reason]


def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    process = WorkerProcess(Job(CurateConfig(rules=())))
    try:
        process.process.kill()
        assert process.clean(RECORDS).kept == 5
        killed = process.process
        killed.kill()
        killed.wait()
        assert process.clean(RECORDS).kept == 5
    finally:
        process.close(at_once=True)


def test_a_worker_that_always_dies_ends_the_run_and_leaves_no_process(tmp_path: Path) -> None:
    process = WorkerProcess(TrapJob(CurateConfig()))
    with pytest.raises(RunError, match="worker ended with status -9"), Pool([process]) as pool:
        list(pool.clean([([poisoned("KILL")], tmp_path / "part.parquet", 0)]))
    assert process.process.poll() is not None
    assert not list(tmp_path.iterdir())


def test_the_memory_of_a_worker_is_limited() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        worker._limit_memory(10**12)
        assert resource.getrlimit(resource.RLIMIT_AS)[0] == 10**12
        worker._limit_memory(0)
        assert resource.getrlimit(resource.RLIMIT_AS)[0] == 10**12
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_a_row_of_a_failed_record_keeps_where_it_came_from() -> None:
    row = clean_record(Trap(CurateConfig()), poisoned("RAISE"))
    assert (row.source, row.locator, row.rule) == ("source", "RAISE", "read:cannot be cleaned (ValueError: two lines)")
