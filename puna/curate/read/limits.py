"""What reading may cost."""

from typing import Literal

from pydantic import Field

from puna.base.config import Config


class Reading(Config):
    """Limits of reading; what goes beyond one is a record set aside, with its reason."""

    max_record_bytes: int = Field(default=32 << 20, ge=1024)
    """Bytes of one page, line, row, chapter or file of code, unpacked. Common Crawl cuts pages at some MiB."""
    max_ratio: int = Field(default=200, ge=1)
    """A packed file may unpack to this many times what was read of it (and 256 MiB more): beyond, it is a bomb."""
    book_s: float = Field(default=120.0, gt=0)
    """Seconds that one EPUB or PDF may take; a book is read by a process of its own."""
    code: Literal["trees", "all", "none"] = "trees"
    """Which files of source code of a folder are read: those of source trees (code.py), all, none."""
    max_code_bytes: int = Field(default=1 << 20, ge=1)
    """Larger files of code are data, or made by a program (The Stack, arXiv 2211.15533, has the same limit)."""
