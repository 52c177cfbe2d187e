"""One record -> one row: kept with its clean text and signatures, or dropped with the rule that did it.

The way: read -> extract -> language -> rules in the order of `config.rules` -> personal data -> keys for deduplication.
All of it is a pure function of the record and the settings, so any process may do it in any order.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from puna.base.config import Config, Hardware
from puna.base.errors import DataError
from puna.curate.decontaminate import Decontaminate, ExamIndex
from puna.curate.dedup.common_lines import line_keys, line_words
from puna.curate.dedup.twins import MinHash, signature, text_key
from puna.curate.extract.page import decode, extract_page, is_cut_off, tidy
from puna.curate.language.detect import detect_language
from puna.curate.language.model import LanguageModel
from puna.curate.outliers import Outliers, pack
from puna.curate.pii import KINDS, National, mask_personal_data
from puna.curate.read.records import Record
from puna.curate.rules.blocked import BlockedWords
from puna.curate.rules.c4 import C4, c4
from puna.curate.rules.check import Check, first_failure
from puna.curate.rules.encoding import damaged_share
from puna.curate.rules.fineweb import FineWeb, fineweb
from puna.curate.rules.gopher_quality import GopherQuality, gopher_quality
from puna.curate.rules.gopher_repetition import GopherRepetition, gopher_repetition
from puna.curate.rules.refinedweb import RefinedWeb, refinedweb
from puna.curate.rules.repeated_lines import RepeatedLines, repeated_lines
from puna.curate.words import Words, count_words

RuleName = Literal[
    "encoding", "repeated_lines", "refinedweb", "c4", "blocked", "gopher_quality", "gopher_repetition", "fineweb"
]

LINE_RULES = ("repeated_lines", "refinedweb", "c4")
"""Rules that take lines off a text."""

MASKED_COLUMNS = ("email", "phone", "ip", "card", "secret", "national_id")
"""Columns of a row that count its masks, in the order of `pii.KINDS`."""


class CurateConfig(Config):
    """Settings of the curate stage. Thresholds are the published ones; what differs is said where it is defined."""

    extract: Literal["main", "full"] = "main"
    whole_pages: bool = True
    """Drop HTML pages that open <html> or <body> and close neither: the crawler was cut off."""
    languages: tuple[str, ...] = ("en", "es", "zh")
    """ISO 639-1 codes to keep; empty keeps all."""
    rules: tuple[RuleName, ...] = ("encoding", "c4", "blocked", "gopher_quality", "gopher_repetition")
    """The rules to apply, in this order. C4's are for pages from the web; plain text goes without."""
    gopher_quality: GopherQuality = GopherQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    c4: C4 = C4()
    fineweb: FineWeb = FineWeb()
    refinedweb: RefinedWeb = RefinedWeb()
    repeated_lines: RepeatedLines = RepeatedLines()
    decontaminate: Decontaminate = Decontaminate()
    """For the input `exams`; without it nothing is looked for."""
    blocked_words: tuple[str, ...] = ()
    """Words or phrases, or paths of files with one on each line (an entry with a slash is a path)."""
    max_blocked_words: int = Field(0, ge=0)
    max_damaged_chars: float = Field(0.003, ge=0, le=1)
    """Share of characters that a wrong encoding left."""
    mask_personal_data: bool = True
    national_ids: tuple[National, ...] = ()
    """Countries whose national numbers are masked too."""
    minhash: MinHash = MinHash()
    near_duplicates: bool = True
    exact_duplicates: bool = True
    """Look for equal texts, and older versions of an address; off only to see what a crawl is like with them."""
    keep_copy: Literal["first", "longest", "newest"] = "first"
    """Which of several copies stays; first: by source, then id. Of one address it is always the newest."""
    max_line_copies: int = Field(0, ge=0)
    """A line that all documents of a language together hold more often goes from all of them (Llama 3: 6); 0: none."""
    outliers: Outliers = Outliers()
    """Documents whose words are not those of the corpus; off by default, for Llama 3 published no threshold."""
    max_chars: int = Field(50_000, ge=0)
    """Plain texts longer than this are split at paragraphs; 0 never splits."""
    heldout_fraction: float = Field(0.02, ge=0, le=0.5)
    heldout_min: int = Field(1, ge=0)
    """Held-out documents of each source: at least this many, at most half of the source."""
    shards: int = Field(4, ge=1)
    workers: Annotated[int, Hardware] = Field(0, ge=0)
    """Worker processes; 0 takes what the run's mesh gives."""


@dataclass(slots=True)
class Row:
    """A record on its way. `rule` is "" while it is kept, else "step:reason"; for words see words.count_words."""

    id: str
    source: str
    locator: str
    form: str = ""
    url: str = ""
    date: str = ""
    lang: str = ""
    title: str = ""
    text: str = ""
    rule: str = ""
    bytes_in: int = 0
    words_seen: int = 0
    words_extracted: int = 0
    words: int = 0
    email: int = 0
    phone: int = 0
    ip: int = 0
    card: int = 0
    secret: int = 0
    national_id: int = 0
    exact: bytes = b""
    signature: bytes = b""
    line_keys: bytes = b""
    line_words: bytes = b""
    word_counts: bytes = b""


@dataclass
class _Way:
    """A row with what the steps share: the record and, once made, the one tokenization of its text."""

    record: Record
    row: Row
    tokens: list[Words] = field(default_factory=list)

    def words(self) -> Words:
        if not self.tokens or self.tokens[0].text is not self.row.text:
            self.tokens = [Words(self.row.text)]
        return self.tokens[0]


class Cleaner:
    """The steps with their settings, made once a process.

    exams: files of the items that no page may hold. languages: the artifact of a languages stage.
    """

    def __init__(self, config: CurateConfig, exams: Sequence[Path] = (), languages: Path | None = None):
        self.config = config
        self._identify = LanguageModel.load(languages).identify if languages else detect_language
        self._exams = ExamIndex(exams, config.decontaminate) if exams else None
        self._blocked = BlockedWords(blocked_entries(config.blocked_words))
        self._rules: dict[str, Callable[[_Way], Iterator[Check]]] = {
            "encoding": self._encoding,
            "c4": self._c4,
            "blocked": self._block,
            "gopher_quality": lambda way: gopher_quality(way.words(), way.row.lang, config.gopher_quality),
            "gopher_repetition": lambda way: gopher_repetition(way.words(), config.gopher_repetition),
            "refinedweb": self._refinedweb,
            "repeated_lines": self._repeated_lines,
            "fineweb": lambda way: fineweb(way.row.text, way.words, config.fineweb),
        }
        self._steps: dict[str, Callable[[_Way], str | None]] = {
            "read": _readable,
            "extract": self._extract,
            "language": self._language,
        }

    def clean(self, record: Record) -> Row:
        """The row of a record, dropped by the first step that gives a reason."""
        way = _Way(record, _new_row(record))
        row = way.row
        row.rule = self._verdict(way)
        if not row.rule:
            self._finish(way)
        row.words = count_words(row.text)
        return row

    def checks(self, text: str, lang: str, form: str = "html", since: str = "") -> Iterator[tuple[str, Check]]:
        """All checks of an extracted text by rule, in the order of `rules`, from the rule `since` on."""
        way = _Way(Record("", "", form, text), Row("", "", "", text=text, lang=lang))
        names = list(self.config.rules)
        for name in names[names.index(since) if since in names else 0 :]:
            for check in self._rules[name](way):
                yield name, check

    def _verdict(self, way: _Way) -> str:
        """The first step that drops the record, as step:reason, or nothing."""
        for name, step in self._steps.items():
            if reason := step(way):
                return f"{name}:{reason}"
        for name in self.config.rules:
            if reason := first_failure(self._rules[name](way)):
                return f"{name}:{reason}"
        return self._contamination(way)

    def _contamination(self, way: _Way) -> str:
        match = self._exams.best(way.words()) if self._exams else None
        if match is None or match.share <= self.config.decontaminate.max_share:
            return ""
        return f"decontaminate:exam item ({match.item}, {match.share:.0%} of its n-grams)"

    def _extract(self, way: _Way) -> str | None:
        record, row = way.record, way.row
        if record.form == "html":
            page = extract_page(record.body, record.charset, self.config.extract)
            row.text, row.title, visible = page.text, page.title, page.visible
        else:
            body = record.body
            visible = row.text = tidy(decode(body, record.charset) if isinstance(body, bytes) else body)
        row.words_seen, row.words_extracted = count_words(visible), count_words(row.text)
        if not row.text.strip():
            return "no text"
        is_cut = self.config.whole_pages and record.form == "html" and is_cut_off(cast(bytes, record.body))
        return "page without its end" if is_cut else None

    def _language(self, way: _Way) -> str | None:
        way.row.lang = self._identify(way.row.text)
        return way.row.lang if self.config.languages and way.row.lang not in self.config.languages else None

    def _encoding(self, way: _Way) -> Iterator[Check]:
        yield Check("mojibake", "max_damaged_chars", damaged_share(way.row.text), most=self.config.max_damaged_chars)

    def _c4(self, way: _Way) -> Iterator[Check]:
        if way.record.form != "text":
            way.row.text, checks = c4(way.row.text, self.config.c4)
            yield from checks

    def _refinedweb(self, way: _Way) -> Iterator[Check]:
        way.row.text, checks = refinedweb(way.row.text, self.config.refinedweb)
        yield from checks

    def _repeated_lines(self, way: _Way) -> Iterator[Check]:
        way.row.text, checks = repeated_lines(way.words(), self.config.repeated_lines)
        yield from checks

    def _block(self, way: _Way) -> Iterator[Check]:
        count = self._blocked.count(way.words())
        yield Check("blocked words", "max_blocked_words", count, most=self.config.max_blocked_words)

    def _finish(self, way: _Way) -> None:
        row = way.row
        if self.config.mask_personal_data:
            masked = mask_personal_data(row.text, self.config.national_ids)
            for column, kind in zip(MASKED_COLUMNS, KINDS, strict=True):
                setattr(row, column, masked.counts[kind])
            if masked.text != row.text:
                row.text = masked.text
        row.exact = text_key(row.text)
        if self.config.near_duplicates:
            row.signature = signature(way.words().word_hashes, self.config.minhash).tobytes()
        if self.config.outliers.max_kl:
            row.word_counts = pack(way.words())
        if self.config.max_line_copies:
            row.line_keys, row.line_words = line_keys(row.text, row.lang).tobytes(), line_words(row.text).tobytes()


def blocked_entries(entries: Iterable[str]) -> list[str]:
    """The words of a block list; an entry with a slash is a file of them. Raises DataError if it is missing."""
    words: list[str] = []
    for entry in entries:
        if "/" not in entry:
            words.append(entry)
            continue
        try:
            words += Path(entry).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"blocked_words: expected a UTF-8 file of words at {entry}, came {error}") from None
    return words


def write_part(path: Path, rows: list[Row], shards: int) -> None:
    """Write rows as one Parquet file with a row group for each shard of ids that occurs in it (see `read_shard`)."""
    rows = sorted(rows, key=lambda row: (shard_of(row.id, shards), row.id, row.source, row.locator))
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(shard_of(row.id, shards), []).append(row)
    schema = _SCHEMA.with_metadata({"shards": ",".join(map(str, groups))})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for members in groups.values():
            columns = {name: [getattr(row, name) for row in members] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(members))


def read_shard(path: Path, shard: int) -> list[Row]:
    """The rows of one shard in a part."""
    part = pq.ParquetFile(path)
    listed = part.schema_arrow.metadata[b"shards"].decode().split(",")
    if str(shard) not in listed:
        return []
    return [Row(**row) for row in part.read_row_group(listed.index(str(shard))).to_pylist()]


def shard_of(identifier: str, shards: int) -> int:
    """The output shard of a document, by its id alone."""
    return int(identifier[:8], 16) % shards


_TYPES = {str: pa.string(), int: pa.int64(), bytes: pa.binary()}
_SCHEMA = pa.schema([(item.name, _TYPES[cast(type, item.type)]) for item in fields(Row)])


def _readable(way: _Way) -> str | None:
    if way.record.problem:
        body = way.record.body
        way.row.text = body if isinstance(body, str) else ""
    return way.record.problem or None


def _new_row(record: Record) -> Row:
    body = record.body.encode("utf-8", "replace") if isinstance(record.body, str) else record.body
    parts = [record.url, record.date] if not record.problem else [record.source, record.locator, record.problem]
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "replace") + b"\0" + body, digest_size=16)
    url = record.url.encode("utf-8", "replace").decode()
    return Row(digest.hexdigest(), record.source, record.locator, record.form, url, record.date, bytes_in=len(body))
