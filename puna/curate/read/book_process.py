"""The process that reads one book: `python -m puna.curate.read.book_process KIND MAX_BYTES < BOOK`, JSON comes out."""

import contextlib
import json
import os
import resource
import sys

from puna.curate.read.damage import Damaged, one_line
from puna.curate.read.epub import read_epub
from puna.curate.read.pdf import read_pdf

_READERS = {"epub": read_epub, "pdf": read_pdf}
_FREE_BYTES = 1 << 30  # of address space for Python, libraries and the book's structure, beside its text


def main(kind: str, max_bytes: int) -> None:
    """Read the book on standard input; whatever is wrong with it is part of the answer."""
    memory = _FREE_BYTES + 16 * max_bytes
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogatepass")
    os.dup2(2, 1)  # whatever a library prints must not get between
    try:
        answer = _READERS[kind](sys.stdin.buffer, max_bytes)
    except Damaged as damage:
        answer = {"problems": [["", str(damage)]]}
    except MemoryError:
        answer = {"problems": [["", "takes too much memory"]]}
    except Exception as error:  # of libraries that parse what anyone wrote: nobody knows all of theirs
        answer = {"problems": [["", f"damaged {kind.upper()} ({type(error).__name__}: {one_line(error)})"]]}
    json.dump(answer, answers)
    answers.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
