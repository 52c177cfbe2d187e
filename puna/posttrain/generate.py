"""The stage `generate`: K samples of every prompt, the first half of rejection sampling (Llama 3, section 4.2.2).

prompts -> engine (a prompt's cache is computed once for its K samples) -> samples-NNNN.jsonl

A shard of prompts is a unit that a killed run need not make again. The noise of a sample depends on the seed, its
prompt's id and its number alone, so shards and batches change nothing.
"""

from pathlib import Path
from typing import Annotated, Any

import pydantic

from puna.base.config import Config, Hardware
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.base.records import write_jsonl
from puna.base.rng import hash64
from puna.engine import Completion, Engine, SamplingParams
from puna.model import load_model
from puna.posttrain.prompts import Prompt, encode_prompts, read_prompts
from puna.tokenizer import Tokenizer

_SHARD_PROMPTS = 256


class GenerateConfig(Config):
    """K samples (Llama 3: 10 to 30) of each prompt. skip and limit choose prompts in file order (limit 0: all)."""

    samples: int = pydantic.Field(8, ge=1)
    temperature: float = pydantic.Field(1.0, ge=0)
    top_p: float = pydantic.Field(1.0, gt=0, le=1)
    max_tokens: int = pydantic.Field(64, ge=1)
    skip: int = pydantic.Field(0, ge=0)
    limit: int = pydantic.Field(0, ge=0)
    max_batch: Annotated[int, Hardware] = pydantic.Field(128, ge=1)


def run(config: GenerateConfig, inputs: Inputs, out: StageOutput) -> None:
    """Sample answers. Inputs: `model`, `prompts` (JSONL, any known form)."""
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("model"))
    read = read_prompts(inputs.many("prompts"))[config.skip :]
    read = read[: config.limit] if config.limit else read
    model = load_model(inputs.one("model"))
    room = model.config.max_position - config.max_tokens
    prompts, ids, too_long = encode_prompts(read, tokenizer, room)
    engine = Engine(model, tokenizer, config.max_batch, out.threads)
    for start in range(0, len(prompts), _SHARD_PROMPTS):
        name = f"samples-{start // _SHARD_PROMPTS:04d}.jsonl"
        if not out.done(name):
            part = slice(start, start + _SHARD_PROMPTS)
            completions = _sample(engine, prompts[part], ids[part], config, out.seed)
            with out.unit(name) as unit:
                unit.info.update(_write(unit.path, prompts[part], completions, config.samples))
        out.progress(min(start + _SHARD_PROMPTS, len(prompts)), len(prompts), "prompts")
    infos = [out.info(name) for name in out.records()]
    num_samples, num_tokens = sum(info["samples"] for info in infos), sum(info["tokens"] for info in infos)
    out.metric(num_prompts=len(prompts), num_samples=num_samples, num_tokens=num_tokens, too_long=too_long)
    out.metric(mean_length=num_tokens / num_samples, cut_off=sum(info["cut_off"] for info in infos) / num_samples)


def _sample(
    engine: Engine, prompts: list[Prompt], ids: list[list[int]], config: GenerateConfig, seed: int
) -> list[Completion]:
    params = [
        SamplingParams(
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=hash64(seed, "generate", prompt.id),
            n=config.samples,
        )
        for prompt in prompts
    ]
    return engine.generate(ids, params)


def _write(path: Path, prompts: list[Prompt], completions: list[Completion], samples: int) -> dict[str, Any]:
    rows = []
    for i, prompt in enumerate(prompts):
        own = completions[i * samples : (i + 1) * samples]
        made = [{"text": one.text, "tokens": one.tokens, "finish": one.finish_reason} for one in own]
        rows.append({**prompt.row(), "samples": made})
    write_jsonl(path, rows)
    cut_off = sum(one.finish_reason == "length" for one in completions)
    return {"samples": len(completions), "tokens": sum(len(one.tokens) for one in completions), "cut_off": cut_off}
