"""A worker process of local.py: chunks of records come in on standard input, their parts go out."""

import os
import resource
import signal
import sys
from collections.abc import Iterator

from puna.curate.clean import Cleaner
from puna.curate.engines.local import NO_RECORD, receive, send
from puna.curate.engines.pool import Cleaned, clean_record, collect
from puna.curate.parts import Row
from puna.curate.read.records import Record


def main(mark: int) -> None:
    """Serve until the other side closes the pipe (also when it is killed).

    mark: a file descriptor; the number of the record at hand is written there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle: it closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    questions = sys.stdin.buffer
    try:
        job = receive(questions)
        _limit_memory(job.config.worker_bytes)
        cleaner = job.cleaner()
        cleaner.warm_up()
        while True:
            records = receive(questions)
            try:
                answer: Cleaned | str = _clean(cleaner, records, mark)
            except Exception as error:
                answer = f"{type(error).__name__}: {' '.join(str(error).split())}"
            send(answers, answer)
    except (EOFError, BrokenPipeError):
        return


def _clean(cleaner: Cleaner, records: list[Record], mark: int) -> Cleaned:
    """The part of a chunk. SIGPROF is not caught: it ends the process, in a library's inner loop too."""

    def rows() -> Iterator[Row]:
        for number, record in enumerate(records):
            os.pwrite(mark, number.to_bytes(8, "little", signed=True), 0)
            signal.setitimer(signal.ITIMER_PROF, cleaner.config.record_seconds)
            yield clean_record(cleaner, record)
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.pwrite(mark, NO_RECORD.to_bytes(8, "little", signed=True), 0)

    return collect(rows())


def _limit_memory(num_bytes: int) -> None:
    """A record that wants more than this gets a MemoryError, before the machine runs out."""
    if num_bytes:
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = num_bytes if most == resource.RLIM_INFINITY else min(num_bytes, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    main(int(sys.argv[1]))
