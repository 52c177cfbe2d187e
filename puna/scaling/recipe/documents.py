"""What the stages of documents do: from a world or a crawl to tokens.

Sizes that only a run can tell (how many pages the rules drop) are those of the village and of the web texts that this
project measures itself by; what an earlier run has made is counted instead.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from puna.scaling.recipe.effort import Effort
from puna.scaling.recipe.volume import Volume, together
from puna.scaling.recipe.work import PROCESS, START_SECONDS, WITH_TORCH, WORKER, Given, Unknown, Work, bytes_per_token

# Set on one lap of recipes/nano.yaml, in seconds of one core of the reference machine (effort.py).
HTML_SECONDS, TEXT_SECONDS, DOCUMENT_SECONDS = 1.1, 0.3, 1e-4  # a million characters, a document
LABEL_SECONDS, CLASSIFY_SECONDS, BASELINE_SECONDS = 1.2e-4, 1.3e-3, 1e-3
NEEDLE_SECONDS = 1e-3
VOCAB_SECONDS, COUNT_SECONDS, ENCODE_SECONDS = 2e-4, 0.25, 0.26

PAGES_KEPT, TEXTS_KEPT, TEXT_OF_MARKUP, MARKUP_OF_PAGE = 0.75, 0.95, 0.32, 2.1e3


def world(config: Any, given: Given) -> Work:
    pages = config.clean_chars / 511
    crawl = Volume(pages, markup=MARKUP_OF_PAGE * pages)
    names = ("choice", "word", "hard")
    exams = {
        f"exams/village-{name}.jsonl": Volume(config.num_exam_items, 160.0 * config.num_exam_items) for name in names
    }
    exams |= {
        f"exams/dev-village-{name}.jsonl": Volume(config.num_dev_items, 160.0 * config.num_dev_items) for name in names
    }
    prompts = Volume(0.9 * config.num_prompts, 163.0 * 0.9 * config.num_prompts)
    outputs = {
        "crawl": crawl,
        "exams": together(exams.values()),
        **exams,
        "truth.jsonl": crawl,
        "training-items.jsonl": Volume(min(config.num_training_items, 1.24 * pages), 170 * pages),
        "dialogs/train.jsonl": Volume(config.num_dialogs, 146.0 * config.num_dialogs, answer=45.0),
        "dialogs/preferences.jsonl": Volume(config.num_preferences, 181.0 * config.num_preferences, answer=41.0),
        "dialogs/prompts.jsonl": prompts,
        "dialogs/prompts-heldout.jsonl": prompts.first(0.1 * config.num_prompts),
    }
    effort = Effort(alone=4.2e-4 * pages + 1e-4 * (config.num_dialogs + config.num_preferences))
    return Work(effort, PROCESS + 8e3 * pages, outputs)


def curate(config: Any, given: Given) -> Work:
    crawl = given.of("crawl")
    pages = crawl.rows if crawl.markup else 0.0
    share = PAGES_KEPT if crawl.markup else TEXTS_KEPT
    text = crawl.characters + crawl.markup * TEXT_OF_MARKUP
    kept = Volume(share * crawl.rows, share * text)
    effort = Effort(
        spread=HTML_SECONDS * crawl.markup / 1e6 + TEXT_SECONDS * text / 1e6,
        alone=DOCUMENT_SECONDS * crawl.rows + START_SECONDS,
    )
    workers = config.workers or given.workers
    memory = PROCESS + 110 * crawl.rows + workers * (WORKER + (0.1e9 if pages else 0.0))
    heldout = kept.first(max(1.0, config.heldout_fraction * kept.rows))
    return Work(effort, memory, {"": kept, "heldout": heldout, "rejects": crawl.first(crawl.rows - kept.rows)})


def over_documents(seconds: float, characters: float = 0.0, kept: float = 1.0) -> Callable[[Any, Given], Work]:
    """A stage over documents: seconds for each and for a million characters of them, and the share that stays."""

    def work(config: Any, given: Given) -> Work:
        documents = given.of("documents")
        effort = Effort(alone=START_SECONDS + seconds * documents.rows + characters * documents.characters / 1e6)
        stays = replace(documents, rows=kept * documents.rows, characters=kept * documents.characters)
        return Work(effort, PROCESS + 100 * documents.rows, {"": stays})

    return work


def languages(config: Any, given: Given) -> Work:
    sentences = given.of("sentences")
    return Work(Effort(alone=START_SECONDS + 4e-5 * sentences.rows), PROCESS + 0.2e9)


def label(config: Any, given: Given) -> Work:
    documents = given.of("documents")
    count = min(documents.rows, config.sample.documents + config.sample.rejects)
    effort = Effort(alone=START_SECONDS + LABEL_SECONDS * count + 2e-5 * documents.rows)
    return Work(effort, PROCESS, {"": documents.first(count)})


def classify(config: Any, given: Given) -> Work:
    labels = given.of("labels")
    return Work(Effort(alone=START_SECONDS + CLASSIFY_SECONDS * labels.rows), WITH_TORCH, {"": labels})


def tokenizer(config: Any, given: Given) -> Work:
    out = {"": Volume(vocab_size=config.vocab_size)}
    try:
        documents = given.of("documents")
    except Unknown as missing:
        raise Unknown(str(missing), out) from None
    characters = min(documents.characters, config.sample_bytes)
    effort = Effort(alone=START_SECONDS + VOCAB_SECONDS * config.vocab_size, spread=COUNT_SECONDS * characters / 1e6)
    return Work(effort, PROCESS + 3 * characters, out)


def tokens(config: Any, given: Given) -> Work:
    documents, vocab_size = given.of("documents"), given.of("tokenizer").vocab_size
    tokens = documents.characters / bytes_per_token(vocab_size)
    effort = Effort(alone=START_SECONDS, spread=ENCODE_SECONDS * documents.characters / 1e6)
    return Work(effort, PROCESS + 0.3e9, {"": replace(documents, tokens=tokens, vocab_size=vocab_size)})


def needles(config: Any, given: Given) -> Work:
    given.of("tokens")
    few, many = config.shortest, config.longest
    tokens = config.num_documents * ((many - few) / math.log(many / few) if many > few else few)
    size = bytes_per_token(given.of("tokenizer").vocab_size)
    effort = Effort(alone=START_SECONDS + NEEDLE_SECONDS * config.num_documents)
    return Work(effort, PROCESS, {"": Volume(config.num_documents, tokens * size)})


def mix(config: Any, given: Given) -> Work:
    return Work(Effort(alone=START_SECONDS + 1e-6 * given.of("tokens").rows), PROCESS, {"": given.of("tokens")})


def baselines(config: Any, given: Given) -> Work:
    characters = min(given.of("documents").characters, config.corpus_bytes)
    items = given.of("exams").rows
    return Work(Effort(alone=START_SECONDS + 0.6 * characters / 1e6 + BASELINE_SECONDS * items), PROCESS + 0.4e9)
