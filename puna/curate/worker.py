"""A worker process of pool.py: chunks of records come in on standard input, the number of kept rows goes out."""

import os
import signal
import sys

from puna.curate.clean import Cleaner
from puna.curate.pool import clean_chunk, receive, send


def main() -> None:
    """Serve until the other side closes the pipe (also when it is killed)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle: it closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    questions = sys.stdin.buffer
    try:
        cleaner = Cleaner(*receive(questions))
        while True:
            records, part = receive(questions)
            try:
                answer: int | str = clean_chunk(cleaner, records, part)
            except Exception as error:
                answer = f"{type(error).__name__}: {' '.join(str(error).split())}"
            send(answers, answer)
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
