"""A record: one page or text as found, before anything is known about its quality."""

from dataclasses import dataclass, field

from puna.curate.read.sources import InputFile

_SAMPLE_BYTES = 300


@dataclass(slots=True)
class Record:
    """One page or text as found. `locator` says where in its source; `problem` is empty when it can be used.

    form: "html" (bytes to extract from), "web" (text that an extractor made: WET), "text" (a user's plain text, a book)
    or "code". notes: what the file says of itself beside, such as author, language, licence.
    """

    source: str
    locator: str
    form: str
    body: bytes | str
    url: str = ""
    date: str = ""
    charset: str = ""
    problem: str = ""
    title: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def broken(file: InputFile, locator: str, problem: str, sample: bytes = b"") -> Record:
    """A record that is set aside, with the beginning of what was found."""
    return Record(file.source, locator, "text", sample[:_SAMPLE_BYTES].decode("utf-8", "replace"), problem=problem)


def sound(text: str) -> str:
    """`text` without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
