"""What the stages of models do: pretraining, post-training, answers, evaluation.

How long an answer becomes and how many are right only a run can tell: those of the village, until an earlier run is
counted instead.
"""

import math
from dataclasses import replace
from typing import Any

from puna.model.config import LlamaConfig, shrunk
from puna.scaling.memory import training_memory
from puna.scaling.recipe.effort import Effort, decoding, forward, training
from puna.scaling.recipe.volume import Volume, together
from puna.scaling.recipe.work import (
    PROCESS,
    START_SECONDS,
    WITH_TORCH,
    Given,
    Training,
    Unknown,
    Work,
    bytes_per_token,
)

_TURN_TOKENS = 8  # special tokens around a turn of a dialog
_BASE_ANSWER = 16  # tokens until a base model ends its line

# Set on one lap of recipes/nano.yaml, in seconds of one core of the reference machine (effort.py).
VERDICT_SECONDS, ITEM_SECONDS = 1e-4, 1e-3

PACKED, CLEAR_PAIRS = 0.96, 0.55
SOLVED, UNSOLVED, WITH_BOTH = 0.48, 0.68, 0.45  # of prompts that rejection sampling answers well, not always, both


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


def pretrain(config: Any, given: Given) -> Work:
    if given.has("model"):
        model = given.model().model
        assert model is not None
    else:
        model = shape_of(config.model, given.of("tokenizer").vocab_size)
    work = _learning(model, config, config.num_tokens, config.row_tokens, config.batch_rows, config.micro_batch)
    held = 10 * config.heldout_rows * config.row_tokens
    checks = forward(model, held, config.row_tokens, config.micro_batch * config.row_tokens)
    assert work.training is not None
    return replace(work, effort=work.effort + checks, training=replace(work.training, divides=True))


def extend(config: Any, given: Given) -> Work:
    """One round of each length; told as a training of all tokens in the longest rows, which the machine must hold."""
    model = given.model().model
    assert model is not None
    effort, most, tokens = Effort(), 0.0, 0.0
    short = config.gate.short_tokens or model.max_position
    for index, length in enumerate(config.lengths):
        rows = config.batch_tokens // length.row_tokens
        work = _learning(model, config, length.num_tokens, length.row_tokens, rows, config.micro_batch)
        held = 6 * config.gate.short_rows * short  # before, four times on the way, at the gate
        checks = forward(model, held, short, 8 * short)
        for needle in {short, *(one.row_tokens for one in config.lengths[: index + 1])}:
            checks = checks + _needles(model, needle, len(config.gate.depths) * config.gate.per_depth)
        effort, most, tokens = effort + work.effort + checks, max(most, work.memory_bytes), tokens + length.num_tokens
    longest = config.lengths[-1].row_tokens
    needs = Training(model, tokens, longest, config.batch_tokens // longest, config.optimizer)
    extended = replace(model, max_position=longest)
    out = Volume(vocab_size=model.vocab_size, model=extended)
    return Work(effort, most, {"": out}, needs, extended)


def _needles(model: LlamaConfig, length: int, count: int) -> Effort:
    """So many haystacks of a length, read once."""
    return forward(model, count * length, length, max(length, 16_384))


def ladder(config: Any, given: Given) -> Work:
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


def mix_search(config: Any, given: Given) -> Work:
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
    held = WITH_TORCH
    if model.num_experts == 1:
        options = {"micro_batches": batches, "dtype": "fp32", "optimizer": config.optimizer}
        held += training_memory(model, min(micro_rows, rows), row_tokens, **options).resident
    needs = Training(model, tokens, row_tokens, rows, config.optimizer, micro_rows)
    out = Volume(vocab_size=model.vocab_size, model=model)
    return Work(effort + Effort(alone=START_SECONDS), held, {"": out}, needs, model)


def sft(config: Any, given: Given) -> Work:
    model, dialogs = given.model().model, given.of("dialogs").first(config.limit)
    assert model is not None
    tokens = config.epochs * _tokens_of(dialogs, model.vocab_size, turns=2)
    tokens *= _share_that_fits(tokens / config.epochs / max(1.0, dialogs.rows), config.row_tokens)
    steps = max(1.0, tokens / PACKED / (config.batch_rows * config.row_tokens))
    rows = config.batch_rows + config.replay_rows
    work = _learning(model, config, steps * rows * config.row_tokens, config.row_tokens, rows, config.micro_batch)
    return replace(work, outputs={"": replace(work.outputs[""], answer=dialogs.answer)})


def reward(config: Any, given: Given) -> Work:
    return _pairs(config, given, config.epochs)


def dpo(config: Any, given: Given) -> Work:
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


def generate(config: Any, given: Given) -> Work:
    start = given.model()
    assert start.model is not None
    try:
        prompts = given.of("prompts")
    except Unknown as missing:
        raise Unknown(str(missing)) from None  # and not a model as large as the one that answers
    left = prompts.first(max(0.0, prompts.rows - config.skip)).first(config.limit)
    tokens, answer = _question(left, start, config.max_tokens)
    effort = decoding(start.model, left.rows * config.samples, tokens, answer, config.max_batch)
    out = replace(left, answer=answer * bytes_per_token(start.model.vocab_size))
    made = replace(out, characters=left.characters + left.rows * config.samples * out.answer)
    memory = WITH_TORCH + _held(start.model, config.max_batch, tokens + config.max_tokens)
    return Work(
        effort + Effort(alone=START_SECONDS), memory, {"": replace(made, tokens=config.samples)}, model=start.model
    )


def judge(config: Any, given: Given) -> Work:
    samples = given.of("samples")
    effort, model = Effort(alone=START_SECONDS + VERDICT_SECONDS * samples.rows * max(1.0, samples.tokens)), None
    if given.has("reward"):
        model = given.model("reward").model
        assert model is not None
        scored = samples.first(config.score_limit)
        characters = scored.per_row - (samples.tokens - 1) * samples.answer
        row = characters / bytes_per_token(model.vocab_size) + 2 * _TURN_TOKENS
        effort = effort + forward(model, scored.rows * max(1.0, samples.tokens) * row, row, 32 * row)
    return Work(effort, WITH_TORCH, {"": samples, "judged.jsonl": samples}, model=model)


def annotate(config: Any, given: Given) -> Work:
    judged = given.of("judged")
    prompt = judged.per_row - judged.tokens * judged.answer
    pairs = Volume(0.8 * judged.rows, 0.8 * judged.rows * (prompt + 2 * judged.answer), answer=judged.answer)
    return Work(Effort(alone=START_SECONDS + 1e-4 * judged.rows), PROCESS, {"preferences.jsonl": pairs, "": pairs})


def select(config: Any, given: Given) -> Work:
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
    return Work(Effort(alone=START_SECONDS + 1e-4 * judged.rows), PROCESS, outputs)


def ppo(config: Any, given: Given) -> Work:
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
    memory = WITH_TORCH + 3 * 4 * model.num_parameters()
    memory += training_memory(model, config.micro_batch, max(1, round(row)), micro_batches=2, dtype="fp32").resident
    all_tokens = config.iterations * config.epochs * answers * row
    needs = Training(model, all_tokens, round(row), answers // config.minibatches, "adamw")
    return Work(effort, memory, {"": start}, needs, model)


def keep(config: Any, given: Given) -> Work:
    return Work(Effort(alone=START_SECONDS), PROCESS, {"": given.of("before")})


def evaluate(config: Any, given: Given) -> Work:
    start = given.model()
    model = start.model
    assert model is not None
    effort = Effort(alone=START_SECONDS)
    for task in config.tasks:
        effort = effort + _task(task, _items(task, given), start, config)
    longest = min(model.max_position, 512)
    return Work(effort, WITH_TORCH + _held(model, config.max_batch, longest), {"": start}, model=model)


def evaluate_ladder(config: Any, given: Given) -> Work:
    ladder = given.model("ladder")
    assert ladder.model is not None
    one = Effort()
    for task in config.tasks:
        one = one + _choices(task, _items(task, given).first(task.limit), ladder)
    memory = WITH_TORCH + _held(ladder.model, config.max_batch, min(ladder.model.max_position, 512))
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
    if task.kind == "needle":
        count = len(task.depths) * task.per_depth
        each = (_needles(model, length, count) for length in task.lengths or [model.max_position])
        return sum(each, Effort())
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


def export(config: Any, given: Given) -> Work:
    start = given.model()
    assert start.model is not None
    size = start.model.num_parameters()
    return Work(Effort(alone=START_SECONDS + 2e-8 * size), PROCESS + 12.0 * size, {"": start})


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
