"""The stage `world`: from a seed to a crawl with its truth, exams, dialogs and preferences (docs/world.md).

crawl/village-NN.warc.gz    the pages           truth.jsonl            what each page is, and whether to keep it
exams/*.jsonl               exams, dev items    exam-truth.jsonl       order, operands and working of exam problems
heldout/KIND.warc.gz        clean pages beside the crawl (`heldout_chars`)
training-items.jsonl        every question that training answers
dialogs/train.jsonl, dialogs/preferences.jsonl, dialogs/prompts.jsonl, dialogs/prompts-heldout.jsonl
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from puna.base.output import Inputs, StageOutput
from puna.base.records import write_jsonl
from puna.world.annotators import ANNOTATORS
from puna.world.arithmetic import Arithmetic
from puna.world.corpus import Corpus, make_corpus, make_heldout
from puna.world.crawl import write_warc
from puna.world.dialogs import make_dialogs
from puna.world.exams import make_exams
from puna.world.facts import Fact, make_facts
from puna.world.page import Page, QuestionAnswer
from puna.world.preferences import make_preferences
from puna.world.prompts import make_prompts
from puna.world.settings import PAGE_SHARES, WorldConfig

EXAM_FILES = tuple(f"{prefix}village-{name}" for prefix in ("", "dev-") for name in ("choice", "word", "hard"))


def run(config: WorldConfig, inputs: Inputs, out: StageOutput) -> None:
    """Write the world of `out.seed`. The same settings and seed give the same bytes.

    Raises ConfigError if the settings ask for more than the world has.
    """
    village = Village(config, out.seed)
    units = village.units()
    for number, (name, write) in enumerate(units.items()):
        if not out.done(name):
            with out.unit(name) as unit:
                unit.info.update(write(unit.path))
        out.progress(number + 1, len(units), "files")
    _report(config, out, units)


class Village:
    """One world; each part is made when it is first needed, from its own random stream."""

    def __init__(self, config: WorldConfig, seed: int):
        self.config, self.seed = config, seed
        self.arithmetic = Arithmetic(config, seed)

    @cached_property
    def facts(self) -> list[Fact]:
        """All facts."""
        return make_facts(self.seed, self.config.num_people, self.config.num_wares, self.config.num_places)

    @cached_property
    def corpus(self) -> Corpus:
        """All pages and their items."""
        return make_corpus(self.config, self.facts, self.arithmetic, self.seed)

    @cached_property
    def heldout(self) -> dict[str, list[Page]]:
        """Clean pages that are in no file of the crawl, by kind."""
        return make_heldout(self.config, self.facts, self.arithmetic, self.seed)

    @cached_property
    def exams(self) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
        """Exam rows by file stem, and the truth of the word problems."""
        return make_exams(self.config, self.facts, self.arithmetic, self.seed)

    @cached_property
    def dialogs(self) -> tuple[list[dict[str, Any]], list[QuestionAnswer]]:
        """Dialog rows and their training items."""
        return make_dialogs(self.config, self.facts, self.arithmetic, self.seed)

    @cached_property
    def prompts(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Prompts and held-out prompts."""
        answered = {item.question for item in self.dialogs[1]}
        return make_prompts(self.config, self.facts, self.arithmetic, answered, self.seed)

    def training_items(self) -> list[dict[str, Any]]:
        """Every question that crawl or dialogs answer, once; thinned evenly to `num_training_items`."""
        seen = {(item.question, item.answer): item for item in (*self.corpus.items, *self.dialogs[1])}
        items, limit = list(seen.values()), self.config.num_training_items
        if len(items) > limit:
            items = [items[i * len(items) // limit] for i in range(limit)]
        return [{"task": item.task, "question": item.question, "answer": item.answer} for item in items]

    def shard(self, number: int) -> list[Page]:
        """The pages of a crawl file."""
        return self.corpus.pages[number :: self.config.num_files]

    def units(self) -> dict[str, Callable[[Any], dict[str, Any]]]:
        """A writer for every file; it returns what is worth keeping beside the file."""
        config = self.config

        def rows(make: Callable[[], Iterable[dict[str, Any]]]) -> Callable[[Any], dict[str, Any]]:
            return lambda path: {"rows": write_jsonl(path, make())}

        def crawl(number: int) -> Callable[[Any], dict[str, Any]]:
            def write(path: Any) -> dict[str, Any]:
                pages = self.shard(number)
                write_warc(path, pages, self.seed)
                return {"kinds": count_kinds(pages), "chars": sum(len(p.text) for p in pages if p.keep)}

            return write

        def heldout(kind: str) -> Callable[[Any], dict[str, Any]]:
            def write(path: Any) -> dict[str, Any]:
                write_warc(path, self.heldout[kind], self.seed)
                return {}

            return write

        def exam(stem: str) -> Callable[[Any], dict[str, Any]]:
            return rows(lambda: self.exams[0][stem])

        units = {f"exams/{stem}.jsonl": exam(stem) for stem in EXAM_FILES}
        units["exam-truth.jsonl"] = rows(lambda: self.exams[1])
        units["dialogs/train.jsonl"] = rows(lambda: self.dialogs[0])
        units["dialogs/preferences.jsonl"] = rows(
            lambda: make_preferences(config, self.facts, self.arithmetic, self.seed)
        )
        units["dialogs/prompts.jsonl"] = rows(lambda: self.prompts[0])
        units["dialogs/prompts-heldout.jsonl"] = rows(lambda: self.prompts[1])
        units |= {f"crawl/village-{i:02d}.warc.gz": crawl(i) for i in range(config.num_files)}
        if config.heldout_chars:
            units |= {f"heldout/{kind}.warc.gz": heldout(kind) for kind in PAGE_SHARES if config.page_shares.get(kind)}
        units["truth.jsonl"] = rows(lambda: map(truth_row, self.corpus.pages))
        units["training-items.jsonl"] = rows(self.training_items)
        return units


def truth_row(page: Page) -> dict[str, Any]:
    """The ground truth of a page; `url` and `date` together name its record."""
    return {
        "url": page.url,
        "date": page.date,
        "kind": page.kind,
        "keep": page.keep,
        "dirt": list(page.dirt),
        "lang": page.lang,
        "duplicate_of": page.duplicate_of,
        "personal": list(page.personal),
        "text": page.text,
    }


def count_kinds(pages: Iterable[Page]) -> dict[str, int]:
    """Pages by kind, dirty ones by their first dirt."""
    counts: dict[str, int] = {}
    for page in pages:
        kind = page.dirt[0] if page.dirt else page.kind
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _report(config: WorldConfig, out: StageOutput, names: Iterable[str]) -> None:
    crawl = [out.info(name) for name in names if name.startswith("crawl/")]
    kinds: dict[str, int] = {}
    for info in crawl:
        for kind, count in info["kinds"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    pages = sum(kinds.values())
    out.metric(
        pages=pages,
        clean_chars=sum(info["chars"] for info in crawl),
        training_items=out.info("training-items.jsonl")["rows"],
        dialogs=out.info("dialogs/train.jsonl")["rows"],
        prompts=out.info("dialogs/prompts.jsonl")["rows"],
        exam_items=sum(out.info(f"exams/{stem}.jsonl")["rows"] for stem in EXAM_FILES),
    )
    rows = [[kind, count, f"{count / pages:.1%}"] for kind, count in sorted(kinds.items(), key=lambda item: -item[1])]
    out.panel("table", "What the crawl holds", columns=["kind", "pages", "share"], rows=rows)
    out.panel(
        "table",
        "Simulated annotators",
        columns=["name", "error rate", "length bias", "position bias"],
        rows=[[a.name, a.error_rate, a.length_bias, a.position_bias] for a in ANNOTATORS],
        note="They are programs: no person judged these pairs.",
    )
