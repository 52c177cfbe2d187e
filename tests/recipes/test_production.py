"""The production recipes: what they say, against published numbers; and each of them run whole, 32 or 64 wide."""

import json
import math
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from puna.base.config import validate
from puna.base.errors import ConfigError
from puna.base.records import read_jsonl, write_jsonl
from puna.cli import main
from puna.lineage import Recipe, run
from puna.model import PRESETS, LlamaConfig, load_model
from puna.model.config import shrunk
from puna.pretrain.schedule import factor
from puna.stages import STAGES as KINDS
from puna.world.lexicon import ADULT_WORDS, TOXIC_WORDS
from tests.small import WORLD, small_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = ("1b", "8b", "70b", "405b")
BROUGHT = dict.fromkeys(("crawl", "dialogs", "preferences", "prompts", "mmlu", "gsm8k", "dev"), "./brought")
BROUGHT |= {"labeller.base_url": "http://127.0.0.1:1/v1", "labeller.model": "a-model"}
PARAMETERS = {"1b": 1_235_814_400, "8b": 8_030_261_248, "70b": 70_553_706_496, "405b": 405_853_388_800}
"""As published: the sums over the files of Llama 3.2 1B and Llama 3.1 8B, 70B and 405B."""
RATES = {"1b": (4e-4, 4e-6), "8b": (3e-4, 3e-6), "70b": (1.5e-4, 1.5e-6), "405b": (8e-5, 8e-7)}
"""Peak and end; the paper's table 3, and section 3.4.1 for the end of the 405B."""


def configs_of(name: str) -> dict[str, Any]:
    """The checked settings of every stage of a recipe."""
    recipe = Recipe.load(RECIPES / f"{name}.yaml", BROUGHT)
    return {stage: validate(KINDS[spec.kind].settings(), spec.config, stage) for stage, spec in recipe.stages.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_model_has_the_published_number_of_parameters(name: str) -> None:
    configs = configs_of(name)
    vocab_size = configs["tokenizer"].vocab_size
    for stage in ("pretrain", "anneal"):
        sizes = configs[stage].model.model_dump(exclude={"preset", "scale", "init_std"})
        config = LlamaConfig(vocab_size=vocab_size, **sizes)
        assert config.num_parameters() == PARAMETERS[name]
        assert (config.max_position, config.rope_scaling, config.rope_theta) == (8192, None, 500_000.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_is_the_papers_at_its_peak_at_its_end_and_through_annealing(name: str) -> None:
    configs, (peak, end) = configs_of(name), RATES[name]
    pretrain, anneal = configs["pretrain"], configs["anneal"]
    num_steps = pretrain.steps().num_steps
    rates = {step: pretrain.lr * factor(pretrain.schedule, step, num_steps) for step in (0, 7_999, num_steps - 1)}
    assert rates == pytest.approx({0: peak / 8000, 7_999: peak, num_steps - 1: end}, rel=1e-6)
    steps = anneal.num_tokens // (anneal.batch_rows * anneal.row_tokens)
    falling = [anneal.lr * factor(anneal.schedule, step, steps) for step in range(steps)]
    assert falling[0] == end and falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(end / steps) and steps > 50


def test_the_405b_takes_the_compute_that_was_published() -> None:
    """3.8e25 FLOPs (section 1): 6 N D."""
    config = configs_of("405b")["pretrain"]
    assert 6 * PARAMETERS["405b"] * config.num_tokens == pytest.approx(3.8e25, rel=0.01)
    assert config.batch_rows * config.row_tokens == 2**24


def test_the_batch_of_the_405b_grows_as_the_papers() -> None:
    """4M tokens, 8M after 252M tokens, 16M after 2.87T (section 3.4.1): the steps are all tokens over these."""
    config = configs_of("405b")["pretrain"]
    steps, million = config.steps(), 2**20
    assert [rows * config.row_tokens // million for rows in steps.rows] == [4, 8, 16]
    assert steps.steps[1] == math.ceil(252e6 / (4 * million)) and steps.num_rows * config.row_tokens <= 15.6e12
    expected = 252e6 / (4 * million) + (2.87e12 - 252e6) / (8 * million) + (15.6e12 - 2.87e12) / (16 * million)
    assert steps.num_steps == pytest.approx(expected, abs=3) and 1.0e6 < steps.num_steps < 1.2e6
    assert [len(steps.at(step)) for step in (0, steps.steps[1], steps.num_steps - 1)] == [512, 1024, 2048]


@pytest.mark.parametrize("name", NAMES)
def test_context_grows_in_six_stages_from_8k_to_128k(name: str) -> None:
    """About 800B tokens (section 3.4.2); what comes out has the RoPE and the positions of the published model."""
    configs = configs_of(name)
    lengths = configs["extend"].lengths
    assert len(lengths) == 6 and lengths[0].row_tokens > 8192 and lengths[-1].row_tokens == 131_072
    assert sum(one.num_tokens for one in lengths) == pytest.approx(800e9, rel=1e-6)
    assert configs["extend"].gate.needle_accuracy == 1.0 and configs["extend"].required
    published = PRESETS[name.upper()]
    written = {"rope_type": "llama3", **lengths[0].rope_scaling.model_dump()}
    assert written == published.rope_scaling and published.max_position == 131_072
    assert all(one.rope_scaling is None and one.rope_theta is None for one in lengths[1:])
    assert configs["anneal"].row_tokens == 131_072 and configs["extend"].lr == RATES[name][1]


@pytest.mark.parametrize("name", NAMES)
def test_post_training_is_six_rounds_with_the_papers_numbers(name: str) -> None:
    recipe, configs = Recipe.load(RECIPES / f"{name}.yaml", BROUGHT), configs_of(name)
    assert [stage for stage in recipe.stages if stage.endswith(".dpo")] == [f"round{n}.dpo" for n in range(1, 7)]
    for number in range(1, 7):
        sft, dpo = configs[f"round{number}.sft"], configs[f"round{number}.dpo"]
        assert (sft.lr, dpo.lr, dpo.beta, dpo.nll, dpo.mask_format) == (1e-5, 1e-5, 0.1, 0.2, True)
        assert 10 <= configs[f"round{number}.generate"].samples <= 30
        assert recipe.stages[f"round{number}.sft"].inputs["model"] == "anneal"
        begins = "sft" if number == 1 else f"round{number - 1}.keep"
        assert recipe.stages[f"round{number}.generate"].inputs["model"] == begins
    assert recipe.stages["export"].inputs["model"] == "round6.keep"


@pytest.mark.parametrize("missing", ["crawl", "dialogs", "preferences", "prompts", "mmlu", "gsm8k", "dev"])
def test_what_the_user_must_bring_is_told(missing: str) -> None:
    given = {name: value for name, value in BROUGHT.items() if name != missing}
    with pytest.raises(ConfigError, match=f"the variable {missing} has no value; give one: --set {missing}=VALUE"):
        Recipe.load(RECIPES / "8b.yaml", given)


def test_what_differs_between_the_sizes_is_what_their_files_say() -> None:
    """All four are one recipe: no stage, input or setting differs beside those named here."""
    recipes = {name: Recipe.load(RECIPES / f"{name}.yaml", BROUGHT) for name in NAMES}
    differing = {
        f"{stage}.{setting}"
        for one in recipes.values()
        for stage, spec in one.stages.items()
        for setting, value in spec.config.items()
        if value != recipes["8b"].stages[stage].config.get(setting)
    }
    assert differing == {
        *("mix.num_tokens", "pretrain.model", "pretrain.num_tokens", "pretrain.batch_rows", "pretrain.lr"),
        "pretrain.batch_ramp",
        *("extend.lengths", "extend.batch_tokens", "extend.lr"),
        *("anneal.model", "anneal.lr", "reward.lr", "export.title"),
    }
    wired = [[(stage, spec.kind, spec.inputs) for stage, spec in one.stages.items()] for one in recipes.values()]
    assert all(one == wired[0] for one in wired)


SCALES = {"1b": 1 / 64, "8b": 1 / 64, "70b": 1 / 128, "405b": 1 / 256}
PAGES = {"arithmetic": 0.3, "article": 0.2, "story": 0.15, "question": 0.1, "spanish": 0.15, "chinese": 0, "code": 0.1}
TRAINING = {"row_tokens": 128, "micro_batch": 4, "checkpoint_interval_s": 1e9}
SETTINGS: dict[str, Any] = {
    "rounds": 1,
    "seed": 7,
    "mesh": {"threads": 1, "workers": 1},
    "num_tokens": 3 * 4 * 128,
    "batch_rows": 4,
    "model.max_position": 256,
    "curate.shards": 2,
    "curate.heldout_fraction": 0.02,
    # The village's pages are short, full of sums, and of short lines.
    "curate.gopher_quality": {"min_words": 20, "min_word_length": 2, "min_letter_words": 0.3},
    "curate.fineweb": {"min_ended_lines": 0, "max_short_lines": 1, "max_newlines_per_word": 1},
    "label.sample": {"documents": 300, "rejects": 50},
    "tokenizer.vocab_size": 512,
    "tokenizer.num_special": 16,
    **{f"{stage}.{name}": value for stage in ("pretrain", "anneal") for name, value in TRAINING.items()},
    # The village has no long pages, and so narrow a model finds no needle: that the stages fit together is tried.
    "extend.lengths": [
        {"row_tokens": 320, "num_tokens": 640, "rope_scaling": {"factor": 8, "original_max_position_embeddings": 256}}
    ],
    "extend.batch_tokens": 640,
    "extend.long_share": 0.0,
    "extend.needles_share": 0.5,
    "extend.needles": {"facts": 2, "questions": 2, "keys": ["a", "b", "c"], "digits": 2},
    "extend.gate": {"short_tolerance": 10, "needle_accuracy": 0, "per_depth": 1, "short_rows": 2},
    "extend.checkpoint_interval_s": 1e9,
    "anneal-mix.num_tokens": 2 * 4 * 128,
    "anneal.num_tokens": 2 * 4 * 128,
    "anneal.batch_rows": 4,
    **{
        f"{stage}.{name}": value
        for stage in ("sft", "round.sft")
        for name, value in {**TRAINING, "row_tokens": 256, "batch_rows": 4, "limit": 16, "epochs": 1}.items()
    },
    "reward.row_tokens": 256,
    "reward.micro_batch": 4,
    "reward.batch_pairs": 4,
    "reward.heldout": 4,
    "round.generate.max_tokens": 24,
    "round.generate.limit": 14,
    "round.dpo.row_tokens": 256,
    "round.dpo.micro_batch": 4,
    "round.dpo.batch_pairs": 8,
}


class _Labeller(BaseHTTPRequestHandler):
    """What a chat model would say of a village's page, told from words that only one kind of page has."""

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        text = prompt.split("\n===\n")[1]
        quality, domain = 4, "general knowledge"
        if "def " in text:
            domain = "code"
        elif text.startswith(("Noticias", "Neues")):
            domain = "non-english"
        elif text.startswith("The story of"):
            quality, domain = 3, "arts and entertainment"
        elif text.startswith("Numbers of") or "How many" in text:
            domain = "mathematics and reasoning"
        toxic = "yes" if {*TOXIC_WORDS, *ADULT_WORDS} & set(text.lower().replace(".", " ").split()) else "no"
        content = f"Quality: {quality}\nDomain: {domain}\nToxic: {toxic}"
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def labeller() -> Iterator[str]:
    """The address of a server that labels."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Labeller)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory, labeller: str) -> dict[str, Any]:
    """What a user brings, out of a small village, MMLU and GSM8K in the forms they are published in."""
    folder = tmp_path_factory.mktemp("brought")
    config = {**WORLD, "clean_chars": 150_000, "page_shares": PAGES}
    run(small_recipe({"world": {"kind": "world", "config": config}}), KINDS, folder)
    world, dialogs = folder / "world", folder / "world/dialogs"
    for split in ("dev", "test"):
        (folder / "mmlu" / split).mkdir(parents=True)
        rows = [
            f"Is {number} more than 4?,yes,no,never,always,{'A' if number > 4 else 'B'}\n" for number in range(3, 6)
        ]
        (folder / "mmlu" / split / f"counting_{split}.csv").write_text("".join(rows))
    (folder / "gsm8k").mkdir()
    for split, count in (("train", 8), ("test", 1)):
        rows = [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(count)]
        write_jsonl(folder / "gsm8k" / f"{split}.jsonl", rows)
    places = {
        "crawl": world / "crawl",
        "dialogs": dialogs / "train.jsonl",
        "preferences": dialogs / "preferences.jsonl",
        "mmlu": folder / "mmlu",
        "gsm8k": folder / "gsm8k",
        "dev": world / "exams/dev-village-word.jsonl",
    }
    # Those of the preferences have no known answer: the reward model alone judges, and so small a model passes it.
    prompts = [str(dialogs / name) for name in ("prompts.jsonl", "preferences.jsonl")]
    given = {name: str(place) for name, place in places.items()} | {"prompts": prompts}
    return given | {"labeller.base_url": labeller, "labeller.model": "a-model"}


@pytest.mark.parametrize("name", NAMES)
def test_explain_says_what_would_run(
    name: str,
    brought: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {**brought, "model.scale": 0.004}
    settings = [f"--set={key}={json.dumps(value)}" for key, value in given.items() if key != "crawl"]
    arguments = ["run", str(RECIPES / f"{name}.yaml"), "--explain", "--json", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["puna", *arguments, "--crawl", brought["crawl"], *settings])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    rows = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in rows] == list(Recipe.load(RECIPES / f"{name}.yaml", BROUGHT).stages)
    assert {row["does"] for row in rows} == {"run"} and not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one == "8b" else pytest.mark.long) for one in NAMES])
def test_every_stage_runs_at_a_small_width(name: str, brought: dict[str, Any], tmp_path: Path) -> None:
    """From the crawl to the exported chat model; what is not small data or width is as the recipe says."""
    settings = {**brought, **SETTINGS, "model.scale": SCALES[name]}
    recipe = Recipe.load(RECIPES / f"{name}.yaml", settings)
    out = tmp_path / "run"
    assert run(recipe, KINDS, out).ran == list(recipe.stages)

    whole, (peak, end) = PRESETS[name.upper()], RATES[name]
    model = load_model(out / "export")
    narrow = shrunk(whole, SCALES[name])
    sizes = ("dim", "layers", "heads", "kv_heads", "ffn_dim", "tied", "rope_theta")
    assert all(getattr(model.config, size) == getattr(narrow, size) for size in sizes)
    assert model.config.layers == whole.layers and (out / "export/model.gguf").exists()
    assert model.config.rope_scaling is not None and model.config.max_position == 320
    logs = {stage: [row["lr"] for row in read_jsonl(out / stage / "log.jsonl")] for stage in ("pretrain", "anneal")}
    assert logs["pretrain"] == pytest.approx([peak * step / 8000 for step in (1, 2, 3)])
    assert logs["anneal"] == pytest.approx([end, end / 2])
    mix = {row["domain"]: row for row in json.loads((out / "mix/mix.json").read_text())["domains"]}
    wanted = {"general": 50, "mathematics and reasoning": 25, "code": 17, "non-english": 8}
    assert {domain: row["wanted"] for domain, row in mix.items()} == pytest.approx(
        {domain: share / 100 * SETTINGS["num_tokens"] for domain, share in wanted.items()}, abs=1
    )
    scores = json.loads((out / "report.json").read_text())["scores"]
    tasks = {(score["stage"], score["task"]) for score in scores}
    for stage in ("eval-base", "eval-sft", "eval-final"):
        assert {(stage, task) for task in ("bits-per-byte", "mmlu", "gsm8k")} <= tasks
