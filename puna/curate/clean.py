"""One record -> one row: kept with its clean text and signatures, or dropped with the rule that did it.

The way: read -> extract -> language -> rules in the order of `config.rules` -> personal data -> keys for deduplication.
All of it is a pure function of the record and the settings, so any process may do it in any order.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

import pydantic
from pydantic import Field

from puna.base.config import Config, Hardware
from puna.base.errors import DataError
from puna.curate.decontaminate import Decontaminate, ExamIndex
from puna.curate.dedup.common_lines import line_keys, line_words
from puna.curate.dedup.twins import MinHash, address_key, band_keys, signature, text_key
from puna.curate.extract.page import ExtractConfig, decode, extract_page, is_cut_off, tidy
from puna.curate.language.detect import detect_language
from puna.curate.language.model import LanguageModel
from puna.curate.outliers import Outliers, pack
from puna.curate.parts import Row
from puna.curate.pii import KINDS, National, mask_personal_data
from puna.curate.read.limits import Reading
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
from puna.curate.text.words import Words, count_words

RuleName = Literal[
    "encoding", "repeated_lines", "refinedweb", "c4", "blocked", "gopher_quality", "gopher_repetition", "fineweb"
]

CODE_RULES = ("encoding",)
"""Rules that source code is held to as well; all others know what prose looks like."""

LINE_RULES = ("repeated_lines", "refinedweb", "c4")
"""Rules that take lines off a text."""

MASKED_COLUMNS = ("email", "phone", "ip", "card", "secret", "national_id")
"""Columns of a row that count its masks, in the order of `pii.KINDS`."""


class CurateConfig(Config):
    """Settings of the curate stage. Thresholds are the published ones; what differs is said where it is defined."""

    extract: ExtractConfig = ExtractConfig()
    """Also `main` or `full` alone."""
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
    by_language: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """For documents of a language other settings of rules, or fewer `rules`.

    {th: {gopher_quality: {max_word_length: 40}}}; a `thresholds` stage makes them from reference text."""
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
    reading: Reading = Reading()
    """Limits of what is read, and what of it is source code."""
    max_chars: int = Field(50_000, ge=0)
    """Plain texts longer than this are split at paragraphs; 0 never splits."""
    keep_index: bool = True
    """Write the index that a later dump can be joined to (input `corpus`)."""
    heldout_fraction: float = Field(0.02, ge=0, le=0.5)
    heldout_min: int = Field(1, ge=0)
    """Held-out documents of each source: at least this many, at most half of the source."""
    shards: int = Field(4, ge=1)
    record_seconds: float = Field(30, ge=0)
    """A record that takes more processor time is set aside; 0: no limit, and one worker then is this process."""
    worker_bytes: int = Field(4_000_000_000, ge=0)
    """Address space of a worker process: a record that wants more is set aside; 0: no limit."""
    workers: Annotated[int, Hardware] = Field(0, ge=0)
    """Worker processes; 0 takes what the run's mesh gives."""
    engine: Annotated[Literal["local", "ray"], Hardware] = "local"
    """Where workers run: on this machine, or as actors of a Ray cluster (RAY_ADDRESS, else a local one)."""

    @pydantic.model_validator(mode="after")
    def _languages_are_sound(self) -> Self:
        for language in self.by_language:
            self.for_language(language)
        return self

    def for_language(self, language: str) -> Self:
        """These settings as they are for documents of a language. Raises ValueError for what no rule knows."""
        values = self.model_dump()
        for name, changed in values.pop("by_language").get(language, {}).items():
            if name == "rules" and set(changed) <= set(self.rules):
                values[name] = [rule for rule in self.rules if rule in changed]
            elif name in get_args(RuleName) and isinstance(changed, dict) and isinstance(values.get(name), dict):
                values[name] = values[name] | changed
            else:
                known = f"settings of rules ({', '.join(get_args(RuleName))}) or some of `rules`"
                raise ValueError(f"by_language.{language}: expected {known}, came {name}: {changed}")
        return type(self).model_validate(values)


_WARM_UP = "The miller and his sons have a mill that stands by the river. They're at home.\n\nIt is old, 1,200 years."


@dataclass
class _Way:
    """A row with what the steps share: the record, and its text with what was counted of it."""

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
        self._rules_of_all = self._rules(config)
        self._rules_of_code = {name: rule for name, rule in self._rules_of_all.items() if name in CODE_RULES}
        self._rules_of = {name: self._rules(config.for_language(name)) for name in config.by_language}
        self._steps: dict[str, Callable[[_Way], str | None]] = {
            "read": _readable,
            "extract": self._extract,
            "language": self._language,
        }

    def _rules(self, config: CurateConfig) -> "_Rules":
        """What each rule asks of a document, in the order of `config.rules`."""
        every: _Rules = {
            "encoding": self._encoding,
            "c4": lambda way: _c4(way, config.c4),
            "blocked": self._block,
            "gopher_quality": lambda way: gopher_quality(way.words(), way.row.lang, config.gopher_quality),
            "gopher_repetition": lambda way: gopher_repetition(way.words(), config.gopher_repetition),
            "refinedweb": lambda way: _refinedweb(way, config.refinedweb),
            "repeated_lines": lambda way: _repeated_lines(way, config.repeated_lines),
            "fineweb": lambda way: fineweb(way.words(), config.fineweb),
        }
        return {name: every[name] for name in config.rules}

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
        rules = self._rules_for(way)
        names = list(rules)
        for name in names[names.index(since) if since in names else 0 :]:
            for check in rules[name](way):
                yield name, check

    def warm_up(self) -> None:
        """Compile, or load from the cache, what numba compiles: it must not count as the time of a record."""
        way = _Way(Record("", "", "html", ""), Row("", "", "", text=_WARM_UP, lang="en"))
        for rule in self._rules_of_all.values():
            list(rule(way))
        self._contamination(way)
        self._finish(way)
        self._identify(_WARM_UP)

    def _verdict(self, way: _Way) -> str:
        """The first step that drops the record, as step:reason, or nothing."""
        for name, step in self._steps.items():
            if reason := step(way):
                return f"{name}:{reason}"
        for name, rule in self._rules_for(way).items():
            if reason := first_failure(rule(way)):
                return f"{name}:{reason}"
        return self._contamination(way)

    def _rules_for(self, way: _Way) -> "_Rules":
        if way.record.form == "code":
            return self._rules_of_code
        return self._rules_of.get(way.row.lang, self._rules_of_all)

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
        elif record.form == "code":
            visible = row.text = cast(str, record.body)  # as its authors wrote it: white space is meant
        else:
            body = record.body
            visible = row.text = tidy(decode(body, record.charset) if isinstance(body, bytes) else body)
        row.words_extracted = count_words(row.text)
        row.words_seen = row.words_extracted if visible is row.text else count_words(visible)
        if not row.text.strip():
            return "no text"
        is_cut = self.config.whole_pages and record.form == "html" and is_cut_off(cast(bytes, record.body))
        return "page without its end" if is_cut else None

    def _language(self, way: _Way) -> str | None:
        if way.record.form == "code":
            way.row.lang = "code"
            return None
        way.row.lang = self._identify(way.row.text)
        return way.row.lang if self.config.languages and way.row.lang not in self.config.languages else None

    def _encoding(self, way: _Way) -> Iterator[Check]:
        yield Check("mojibake", "max_damaged_chars", damaged_share(way.row.text), most=self.config.max_damaged_chars)

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
        row.address, row.exact = address_key(row.url), text_key(row.text)
        if self.config.near_duplicates:
            minhash = self.config.minhash
            row.bands = band_keys(signature(way.words().word_hashes, minhash), minhash).tobytes()
        if self.config.outliers.max_kl:
            row.word_counts = pack(way.words())
        if self.config.max_line_copies and row.form != "code":  # lines of code come again by right
            row.line_keys, row.line_words = line_keys(row.text, row.lang).tobytes(), line_words(row.text).tobytes()


_Rules = dict[str, Callable[[_Way], Iterator[Check]]]


def _c4(way: _Way, limits: C4) -> Iterator[Check]:
    if way.record.form != "text":
        way.row.text, checks = c4(way.words(), limits)
        yield from checks


def _refinedweb(way: _Way, limits: RefinedWeb) -> Iterator[Check]:
    way.row.text, checks = refinedweb(way.row.text, limits)
    yield from checks


def _repeated_lines(way: _Way, limits: RepeatedLines) -> Iterator[Check]:
    way.row.text, checks = repeated_lines(way.words(), limits)
    yield from checks


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
    notes = json.dumps(record.notes, ensure_ascii=False, sort_keys=True) if record.notes else ""
    row = Row(digest.hexdigest(), record.source, record.locator, record.form, url, record.date, bytes_in=len(body))
    row.title, row.notes = record.title, notes
    return row
