"""What each kind of stage does with what it is given, and what it hands on.

Sizes that only a run can tell (how many pages the rules drop, how long an answer becomes) are those of the village and
of the web texts that this project measures itself by; what an earlier run has made is counted instead.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from puna.base.errors import PunaError
from puna.model.config import LlamaConfig, shrunk
from puna.scaling.memory import training_memory
from puna.scaling.recipe.effort import Effort, decoding, forward, training
from puna.scaling.recipe.volume import Volume, together

_PROCESS, _WITH_TORCH, _WORKER = 0.5e9, 0.9e9, 0.25e9
_TURN_TOKENS = 8  # special tokens around a turn of a dialog
_BASE_ANSWER = 16  # tokens until a base model ends its line

# Set on one lap of recipes/nano.yaml, in seconds of one core of the reference machine (effort.py).
START_SECONDS = 0.5
HTML_SECONDS, TEXT_SECONDS, DOCUMENT_SECONDS = 1.1, 0.3, 1e-4  # a million characters, a document
LABEL_SECONDS, CLASSIFY_SECONDS, VERDICT_SECONDS, ITEM_SECONDS, BASELINE_SECONDS = 1.2e-4, 1.3e-3, 1e-4, 1e-3, 1e-3
VOCAB_SECONDS, COUNT_SECONDS, ENCODE_SECONDS, FILTER_SECONDS = 2e-4, 0.25, 0.26, 3.5e-4

PAGES_KEPT, TEXTS_KEPT, TEXT_OF_MARKUP, MARKUP_OF_PAGE = 0.75, 0.95, 0.32, 2.1e3
PACKED, CLEAR_PAIRS = 0.96, 0.55
SOLVED, UNSOLVED, WITH_BOTH = (
    0.48,
    0.68,
    0.45,
)  # shares of prompts that rejection sampling answers well, not always, both


class Unknown(PunaError):
    """What a stage takes cannot be told; the message says what is missing. outputs: what is known all the same."""

    def __init__(self, message: str, outputs: Mapping[str, Volume] | None = None):
        super().__init__(message)
        self.outputs = outputs or {}


@dataclass(frozen=True)
class Training:
    """A model that learns `tokens` in rows of `row_tokens`, `batch_rows` a step."""

    model: LlamaConfig
    tokens: float
    row_tokens: int
    batch_rows: int
    optimizer: str


@dataclass(frozen=True)
class Work:
    """effort: see there. memory_bytes: of process and workers on cores. outputs: by name within the artifact."""

    effort: Effort
    memory_bytes: float
    outputs: Mapping[str, Volume] = field(default_factory=dict)
    training: Training | None = None
    model: LlamaConfig | None = None


class Given:
    """The inputs of a stage by name: references, and `find`, which says how much there is under one."""

    def __init__(self, references: Mapping[str, list[str]], find: Callable[[str], Volume], workers: int):
        self._references, self._find, self.workers = references, find, workers

    def names(self) -> list[str]:
        """Of all inputs."""
        return list(self._references)

    def has(self, name: str) -> bool:
        """Whether the recipe gives it."""
        return bool(self._references.get(name))

    def of(self, name: str, inside: str = "") -> Volume:
        """All of an input together, or a file inside of it. Raises Unknown if it is not known."""
        below = f"/{inside}" if inside else ""
        whole = together(self._find(reference + below) for reference in self._references.get(name, []))
        if whole.missing:
            known = {} if name == "model" else self._start()
            raise Unknown(f"{name}: {whole.missing} is not known yet", known)
        return whole

    def _start(self) -> dict[str, Volume]:
        """The model that the stage begins with, which what comes out of it is as large as."""
        found = together(self._find(reference) for reference in self._references.get("model", []))
        return {} if found.model is None else {"": Volume(vocab_size=found.vocab_size, model=found.model)}

    def model(self, name: str = "model") -> Volume:
        """An input that is a model. Raises Unknown if its sizes are not known."""
        found = self.of(name)
        if found.model is None:
            raise Unknown(f"{name}: the sizes of the model are not known")
        return found


def bytes_per_token(vocab_size: int) -> float:
    """Of English text: 2.7 with 1,024 tokens, 3.6 with 4,096, 4.5 with 128 thousand."""
    return min(4.5, 2.7 + 0.45 * max(0.0, math.log2(max(vocab_size, 256) / 1024)))


def _world(config: Any, given: Given) -> Work:
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
    return Work(effort, _PROCESS + 8e3 * pages, outputs)


def _curate(config: Any, given: Given) -> Work:
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
    memory = _PROCESS + 110 * crawl.rows + workers * (_WORKER + (0.1e9 if pages else 0.0))
    heldout = kept.first(max(1.0, config.heldout_fraction * kept.rows))
    return Work(effort, memory, {"": kept, "heldout": heldout, "rejects": crawl.first(crawl.rows - kept.rows)})


def _documents(seconds: float, characters: float = 0.0, kept: float = 1.0) -> Callable[[Any, Given], Work]:
    """A stage over documents: seconds for each and for a million characters of them, and the share that stays."""

    def work(config: Any, given: Given) -> Work:
        documents = given.of("documents")
        effort = Effort(alone=START_SECONDS + seconds * documents.rows + characters * documents.characters / 1e6)
        stays = replace(documents, rows=kept * documents.rows, characters=kept * documents.characters)
        return Work(effort, _PROCESS + 100 * documents.rows, {"": stays})

    return work


def _languages(config: Any, given: Given) -> Work:
    sentences = given.of("sentences")
    return Work(Effort(alone=START_SECONDS + 4e-5 * sentences.rows), _PROCESS + 0.2e9)


def _label(config: Any, given: Given) -> Work:
    documents = given.of("documents")
    count = min(documents.rows, config.sample.documents + config.sample.rejects)
    effort = Effort(alone=START_SECONDS + LABEL_SECONDS * count + 2e-5 * documents.rows)
    return Work(effort, _PROCESS, {"": documents.first(count)})


def _classify(config: Any, given: Given) -> Work:
    labels = given.of("labels")
    return Work(Effort(alone=START_SECONDS + CLASSIFY_SECONDS * labels.rows), _WITH_TORCH, {"": labels})


def _tokenizer(config: Any, given: Given) -> Work:
    out = {"": Volume(vocab_size=config.vocab_size)}
    try:
        documents = given.of("documents")
    except Unknown as missing:
        raise Unknown(str(missing), out) from None
    characters = min(documents.characters, config.sample_bytes)
    effort = Effort(alone=START_SECONDS + VOCAB_SECONDS * config.vocab_size, spread=COUNT_SECONDS * characters / 1e6)
    return Work(effort, _PROCESS + 3 * characters, out)


def _tokens(config: Any, given: Given) -> Work:
    documents, vocab_size = given.of("documents"), given.of("tokenizer").vocab_size
    tokens = documents.characters / bytes_per_token(vocab_size)
    effort = Effort(alone=START_SECONDS, spread=ENCODE_SECONDS * documents.characters / 1e6)
    return Work(effort, _PROCESS + 0.3e9, {"": replace(documents, tokens=tokens, vocab_size=vocab_size)})


def _mix(config: Any, given: Given) -> Work:
    return Work(Effort(alone=START_SECONDS + 1e-6 * given.of("tokens").rows), _PROCESS, {"": given.of("tokens")})


def _baselines(config: Any, given: Given) -> Work:
    characters = min(given.of("documents").characters, config.corpus_bytes)
    items = given.of("exams").rows
    return Work(Effort(alone=START_SECONDS + 0.6 * characters / 1e6 + BASELINE_SECONDS * items), _PROCESS + 0.4e9)


def shape_of(shape: Any, vocab_size: int) -> LlamaConfig:
    """The model of a `pretrain` stage's settings."""
    names = (
        "dim",
        "layers",
        "heads",
        "kv_heads",
        "ffn_dim",
        "max_position",
        "tied",
        "num_experts",
        "experts_per_token",
    )
    made = LlamaConfig(vocab_size=vocab_size, **{name: getattr(shape, name) for name in names})
    return shrunk(made, shape.scale) if shape.scale < 1 else made


def _pretrain(config: Any, given: Given) -> Work:
    if given.has("model"):
        model = given.model().model
        assert model is not None
    else:
        model = shape_of(config.model, given.of("tokenizer").vocab_size)
    work = _learning(model, config, config.num_tokens, config.row_tokens, config.batch_rows, config.micro_batch)
    held = 10 * config.heldout_rows * config.row_tokens
    checks = forward(model, held, config.row_tokens, config.micro_batch * config.row_tokens)
    return replace(work, effort=work.effort + checks)


def _ladder(config: Any, given: Given) -> Work:
    vocab_size = given.of("tokenizer").vocab_size
    train, effort, most, runs = config.train, Effort(alone=START_SECONDS), 0.0, 0
    largest: LlamaConfig | None = None
    at_once = train.micro_batch * train.row_tokens
    for shape in config.sizes:
        model = shape_of(shape, vocab_size)
        budgets = [flops / (6 * model.num_met_parameters()) for flops in config.flops]
        for tokens in config.num_tokens or budgets:
            if not config.min_ratio <= tokens / model.num_met_parameters() <= config.max_ratio:
                continue
            work = _learning(model, train, tokens, train.row_tokens, train.batch_rows, train.micro_batch)
            checks = forward(model, 20 * train.heldout_rows * train.row_tokens, train.row_tokens, at_once)
            effort, most, runs = effort + work.effort + checks, max(most, work.memory_bytes), runs + 1
            largest = max(largest, model, key=lambda one: one.num_parameters()) if largest else model
    return Work(effort, most, {"": Volume(runs, vocab_size=vocab_size, model=largest)})


def _mix_search(config: Any, given: Given) -> Work:
    proxy, model = config.proxy, shape_of(config.proxy.model, given.of("tokenizer").vocab_size)
    one = _learning(model, proxy, proxy.num_tokens, proxy.row_tokens, proxy.batch_rows, proxy.micro_batch)
    held = proxy.heldout_rows * proxy.row_tokens
    checks = forward(model, held, proxy.row_tokens, proxy.micro_batch * proxy.row_tokens)
    effort = (one.effort + checks) * (config.num_proxies + 1) + Effort(alone=1e-5 * config.candidates)
    tokens = together(given.of(name) for name in given.names() if name != "tokenizer")
    return Work(effort, one.memory_bytes, {"": tokens}, model=model)


def _learning(model: LlamaConfig, config: Any, tokens: float, row_tokens: int, rows: int, micro_rows: int) -> Work:
    at_once = min(micro_rows, rows) * row_tokens
    effort = training(model, tokens, row_tokens, at_once, rows * row_tokens, config.optimizer)
    batches = max(1, round(rows / max(1, min(micro_rows, rows))))
    held = _WITH_TORCH
    if model.num_experts == 1:
        options = {"micro_batches": batches, "dtype": "fp32", "optimizer": config.optimizer}
        held += training_memory(model, min(micro_rows, rows), row_tokens, **options).resident
    needs = Training(model, tokens, row_tokens, rows, config.optimizer)
    out = Volume(vocab_size=model.vocab_size, model=model)
    return Work(effort + Effort(alone=START_SECONDS), held, {"": out}, needs, model)


def _sft(config: Any, given: Given) -> Work:
    model, dialogs = given.model().model, given.of("dialogs").first(config.limit)
    assert model is not None
    tokens = config.epochs * _tokens_of(dialogs, model.vocab_size, turns=2)
    tokens *= _share_that_fits(tokens / config.epochs / max(1.0, dialogs.rows), config.row_tokens)
    steps = max(1.0, tokens / PACKED / (config.batch_rows * config.row_tokens))
    rows = config.batch_rows + config.replay_rows
    work = _learning(model, config, steps * rows * config.row_tokens, config.row_tokens, rows, config.micro_batch)
    return replace(work, outputs={"": replace(work.outputs[""], answer=dialogs.answer)})


def _reward(config: Any, given: Given) -> Work:
    return _pairs(config, given, config.epochs)


def _dpo(config: Any, given: Given) -> Work:
    work = _pairs(config, given, config.epochs)
    assert work.training is not None
    reference = forward(work.training.model, work.training.tokens, config.row_tokens, 32 * config.row_tokens)
    return replace(work, effort=work.effort + reference)


def _pairs(config: Any, given: Given, epochs: float) -> Work:
    start, pairs = given.model(), given.of("preferences").first(getattr(config, "limit", 0))
    assert start.model is not None
    size = bytes_per_token(start.model.vocab_size)
    # A pair is a prompt and two answers of about one length, and the model reads the prompt with each.
    answer = pairs.answer or pairs.per_row / 3
    per_row = (pairs.per_row - answer) / size + 2 * _TURN_TOKENS
    learned = CLEAR_PAIRS if config.strengths else 1.0
    held = 1 / config.heldout if getattr(config, "heldout", 0) else 0.0
    answers = 2 * epochs * pairs.rows * learned * (1 - held)
    answers *= _share_that_fits(per_row, config.row_tokens)
    length = min(per_row, config.row_tokens)
    rows = 2 * config.batch_pairs
    work = _learning(start.model, config, answers * length, max(1, round(length)), rows, 2 * config.micro_batch)
    return replace(work, outputs={"": replace(start, missing="")})


def _generate(config: Any, given: Given) -> Work:
    start, prompts = given.model(), given.of("prompts")
    assert start.model is not None
    left = prompts.first(max(0.0, prompts.rows - config.skip)).first(config.limit)
    tokens, answer = _question(left, start, config.max_tokens)
    effort = decoding(start.model, left.rows * config.samples, tokens, answer, config.max_batch)
    out = replace(left, answer=answer * bytes_per_token(start.model.vocab_size))
    made = replace(out, characters=left.characters + left.rows * config.samples * out.answer)
    memory = _WITH_TORCH + _held(start.model, config.max_batch, tokens + config.max_tokens)
    return Work(
        effort + Effort(alone=START_SECONDS), memory, {"": replace(made, tokens=config.samples)}, model=start.model
    )


def _judge(config: Any, given: Given) -> Work:
    samples = given.of("samples")
    effort, model = Effort(alone=START_SECONDS + VERDICT_SECONDS * samples.rows * max(1.0, samples.tokens)), None
    if given.has("reward"):
        model = given.model("reward").model
        assert model is not None
        scored = samples.first(config.score_limit)
        characters = scored.per_row - (samples.tokens - 1) * samples.answer
        row = characters / bytes_per_token(model.vocab_size) + 2 * _TURN_TOKENS
        effort = effort + forward(model, scored.rows * max(1.0, samples.tokens) * row, row, 32 * row)
    return Work(effort, _WITH_TORCH, {"": samples, "judged.jsonl": samples}, model=model)


def _annotate(config: Any, given: Given) -> Work:
    judged = given.of("judged")
    prompt = judged.per_row - judged.tokens * judged.answer
    pairs = Volume(0.8 * judged.rows, 0.8 * judged.rows * (prompt + 2 * judged.answer), answer=judged.answer)
    return Work(Effort(alone=START_SECONDS + 1e-4 * judged.rows), _PROCESS, {"preferences.jsonl": pairs, "": pairs})


def _select(config: Any, given: Given) -> Work:
    judged = given.of("judged")
    prompt = judged.per_row - judged.tokens * judged.answer
    rows, pair = SOLVED * config.per_prompt * judged.rows, prompt + 2 * judged.answer
    dialogs = Volume(rows, rows * (prompt + judged.answer), answer=judged.answer)
    pairs = Volume(WITH_BOTH * judged.rows, WITH_BOTH * pair * judged.rows, answer=judged.answer)
    outputs = {
        "dialogs.jsonl": dialogs,
        "preferences.jsonl": pairs,
        "prompts.jsonl": judged.first(UNSOLVED * judged.rows),
    }
    return Work(Effort(alone=START_SECONDS + 1e-4 * judged.rows), _PROCESS, outputs)


def _ppo(config: Any, given: Given) -> Work:
    start = given.model()
    model = start.model
    assert model is not None
    tokens, answer = _question(given.of("prompts"), start, config.max_tokens)
    answers = config.batch_prompts * config.samples
    row = tokens + answer
    one = decoding(model, answers, tokens, answer, answers)
    one = one + forward(model, (3 if given.has("reward") else 2) * answers * row, row, 32 * row)
    learned = training(model, answers * row, row, config.micro_batch * row, answers * row / config.minibatches, "adamw")
    one = one + learned * config.epochs
    checks = 1 + config.iterations // config.heldout_every
    heldout = decoding(model, config.heldout_limit, tokens, answer, config.heldout_limit) * checks
    effort = one * config.iterations + heldout + Effort(alone=START_SECONDS)
    memory = _WITH_TORCH + 3 * 4 * model.num_parameters()
    memory += training_memory(model, config.micro_batch, max(1, round(row)), micro_batches=2, dtype="fp32").resident
    all_tokens = config.iterations * config.epochs * answers * row
    needs = Training(model, all_tokens, round(row), answers // config.minibatches, "adamw")
    return Work(effort, memory, {"": start}, needs, model)


def _keep(config: Any, given: Given) -> Work:
    return Work(Effort(alone=START_SECONDS), _PROCESS, {"": given.of("before")})


def _evaluate(config: Any, given: Given) -> Work:
    start = given.model()
    model = start.model
    assert model is not None
    effort = Effort(alone=START_SECONDS)
    for task in config.tasks:
        effort = effort + _task(task, _items(task, given), start, config)
    longest = min(model.max_position, 512)
    return Work(effort, _WITH_TORCH + _held(model, config.max_batch, longest), {"": start}, model=model)


def _evaluate_ladder(config: Any, given: Given) -> Work:
    ladder = given.model("ladder")
    assert ladder.model is not None
    one = Effort()
    for task in config.tasks:
        one = one + _choices(task, _items(task, given).first(task.limit), ladder)
    memory = _WITH_TORCH + _held(ladder.model, config.max_batch, min(ladder.model.max_position, 512))
    return Work(one * ladder.rows + Effort(alone=START_SECONDS), memory, {"": Volume()}, model=ladder.model)


def _items(task: Any, given: Given) -> Volume:
    if task.kind in ("exam", "samples"):
        return given.of(task.input, f"{task.file or task.name}.jsonl")
    return given.of(task.input)


def _task(task: Any, items: Volume, start: Volume, config: Any) -> Effort:
    model = start.model
    assert model is not None
    if task.kind == "bits_per_byte":
        tokens = _tokens_of(items.first(task.limit), model.vocab_size, turns=0)
        window = task.window or model.max_position
        return forward(model, 2 * tokens if task.window else tokens, window, 32 * window)
    rows = items.first(task.limit)
    question, answer = _question(rows, start, task.max_tokens)
    question = min(question * (1 + task.shots), max(1.0, model.max_position - answer))
    if task.kind == "samples":
        return decoding(model, rows.rows * task.samples, question, answer, config.max_batch)
    if config.style == "base" and not task.written and task.kind in ("exam", "mmlu"):
        return _choices(task, rows, start)
    return decoding(model, rows.rows, question, answer, config.max_batch) + Effort(alone=ITEM_SECONDS * rows.rows)


def _choices(task: Any, rows: Volume, start: Volume) -> Effort:
    """The likelihood of four options of each item."""
    assert start.model is not None
    question, _ = _question(rows, start, 1)
    length = min(question * (1 + task.shots) + 4, start.model.max_position)
    return forward(start.model, 4 * rows.rows * length, length, 32 * length) + Effort(alone=ITEM_SECONDS * rows.rows)


def _export(config: Any, given: Given) -> Work:
    start = given.model()
    assert start.model is not None
    size = start.model.num_parameters()
    return Work(Effort(alone=START_SECONDS + 2e-8 * size), _PROCESS + 12.0 * size, {"": start})


def _nothing(config: Any, given: Given) -> Work:
    try:
        passed = together(given.of(name) for name in given.names())
    except Unknown:
        passed = Volume()
    return Work(Effort(alone=START_SECONDS), _PROCESS, {"": passed})


def _question(rows: Volume, start: Volume, most: float) -> tuple[float, float]:
    """Tokens of a prompt, and of an answer: as long as those the model was taught, a line if it was taught none."""
    assert start.model is not None
    size = bytes_per_token(start.model.vocab_size)
    answer = start.answer or rows.answer
    return rows.per_row / size + _TURN_TOKENS, min(most, answer / size + 1 if answer else _BASE_ANSWER)


def _tokens_of(rows: Volume, vocab_size: int, turns: int) -> float:
    return rows.characters / bytes_per_token(vocab_size) + turns * _TURN_TOKENS * rows.rows


def _share_that_fits(mean: float, row_tokens: int) -> float:
    """Of the tokens, in texts of this mean length that are no longer than a row: longer ones are left out.

    Lengths are taken to be gamma-distributed with shape 2.
    """
    ratio = 2 * row_tokens / max(1.0, mean)
    return 1 - math.exp(-ratio) * (1 + ratio + ratio**2 / 2)


def _held(model: LlamaConfig, rows: float, tokens: float) -> float:
    """Bytes of weights, caches and logits while `rows` grow to so many tokens, in fp32."""
    cache = 2 * model.layers * model.kv_heads * model.head_dim * min(tokens, model.max_position)
    return 4.0 * (model.num_parameters() + rows * (cache + 3 * model.vocab_size))


WORK: dict[str, Callable[[Any, Given], Work]] = {
    "world": _world,
    "pollute": _nothing,
    "languages": _languages,
    "thresholds": _nothing,
    "curate": _curate,
    "embed": _documents(2e-3),
    "semantic-dedup": _documents(4e-4, kept=0.98),
    "label": _label,
    "label-model": _label,
    "classify": _classify,
    "filter": _documents(FILTER_SECONDS, kept=0.98),
    "tokenizer": _tokenizer,
    "tokens": _tokens,
    "mix": _mix,
    "mix-search": _mix_search,
    "ladder": _ladder,
    "evaluate-ladder": _evaluate_ladder,
    "forecast": _nothing,
    "compare-forecasts": _nothing,
    "pretrain": _pretrain,
    "sft": _sft,
    "reward": _reward,
    "generate": _generate,
    "judge": _judge,
    "annotate": _annotate,
    "select": _select,
    "dpo": _dpo,
    "ppo": _ppo,
    "keep": _keep,
    "baselines": _baselines,
    "evaluate": _evaluate,
    "export": _export,
}
