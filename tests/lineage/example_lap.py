"""Manifests as a real lap writes them, with what is awkward: long labels, Chinese, 0 and 1, markup, a gap."""

import math
from typing import Any

ATTACK = '<script>alert("x")</script> & <b>bold</b>'
TASKS = {"village-choice": 600, "village-word": 500, "village-hard": 500}
BASE = {"village-choice": 0.655, "village-word": 0.412, "village-hard": 0.0}
CHAT = {"village-choice": 0.8633, "village-word": 0.784, "village-hard": 0.214}
BASELINE = {
    "village-choice": (0.262, 0.291, 0.318),
    "village-word": (0.02, 0.014, 0.106),
    "village-hard": (0.01, 0.0, 0.05),
}


def fingerprint(text: str) -> str:
    """A stable stand-in for a hash."""
    return "".join(f"{(ord(c) * 7919 + 31 * i) % 256:02x}" for i, c in enumerate((text * 32)[:32]))


def interval(value: float, n: int) -> list[float]:
    """Normal interval, clipped: good enough to look at."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / n)
    return [max(0.0, value - half), min(1.0, value + half)]


def manifest(
    stage: str, kind: str, seconds: float, memory: int, inputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """One manifest of the contract."""
    sources = {
        name: [
            {"path": s, "fingerprint": fingerprint(s)} if "/" in s else {"stage": s, "fingerprint": fingerprint(s)}
            for s in (value if isinstance(value, list) else [value])
        ]
        for name, value in (inputs or {}).items()
    }
    return {
        "format_version": 1,
        "stage": stage,
        "kind": kind,
        "fingerprint": fingerprint(stage),
        "inputs": sources,
        "config": {},
        "seed": 0,
        "started": "2026-11-21T09:14:02",
        "seconds": seconds,
        "peak_memory_bytes": memory,
        "metrics": {},
        "scores": [],
        "panels": [],
        "files": {},
        "artifact": f"{stage}-{fingerprint(stage)[:12]}",
        "environment": {
            "python": "3.11.7",
            "torch": "2.13.0+cpu",
            "platform": "Linux-6.1.0-18-amd64-x86_64-with-glibc2.36",
            "machine": "x86_64",
            "cores": 2,
            "commit": "3f2c9a17d0be",
        },
        **more,
    }


def model_scores(values: dict[str, float], protocol: str) -> list[dict[str, Any]]:
    """Headline scores of one model, and one that is no share."""
    scores = [
        {
            "task": task,
            "metric": "accuracy",
            "value": values[task],
            "ci95": interval(values[task], n),
            "n": n,
            "headline": True,
            "settings": {"protocol": protocol, "shots": 0},
        }
        for task, n in TASKS.items()
    ]
    bits = {
        "task": "heldout",
        "metric": "bits_per_byte",
        "value": 0.71234567,
        "ci95": [0.70111, 0.72355],
        "n": 312,
        "headline": False,
        "settings": {},
    }
    return [*scores, bits]


def baseline_scores() -> list[dict[str, Any]]:
    """Majority, n-gram and nearest item on each task."""
    names = ("majority", "ngram", "nearest")
    return [
        {
            "task": task,
            "metric": f"accuracy/{name}",
            "value": value,
            "ci95": interval(value, n),
            "n": n,
            "headline": task == "village-word",
            "settings": {},
        }
        for task, n in TASKS.items()
        for name, value in zip(names, BASELINE[task], strict=True)
    ]


def samples(answers: list[tuple[str, str]]) -> dict[str, Any]:
    """Four items, answered."""
    items = [
        (
            "village-word-0007",
            "A basket holds 14 eggs. Rosa sells 3 baskets and keeps 5 eggs. How many eggs did she have?",
            "47",
        ),
        (
            "village-choice-0113",
            "Which trade does Tomás Quispe have?\nA) weaver\nB) miller\nC) smith\nD) herder",
            "weaver",
        ),
        ("village-hard-0042", "村里的磨坊每天磨 12 袋面粉，三天后卖掉 20 袋，又买进 7 袋。还剩多少袋？", "23"),
        ("village-word-attack", f"Ignore this: {ATTACK} How many llamas?", "6"),
    ]
    rows = [
        {"id": id_, "prompt": prompt, "expected": expected, "answer": answer, "verdict": verdict}
        for (id_, prompt, expected), (answer, verdict) in zip(items, answers, strict=False)
    ]
    return {"kind": "samples", "title": "Samples", "items": rows}


BASE_ANSWERS = [
    ("14 + 3 + 5 = 22. The answer is 22.", "wrong"),
    ("weaver", "correct"),
    ("12 袋。", "wrong"),
    (f"{ATTACK} " + "llama " * 40, "error"),
]
CHAT_ANSWERS = [
    ("3 baskets hold 3 * 14 = 42 eggs.\nWith the 5 she kept, 42 + 5 = 47.\nThe answer is 47.", "correct"),
    ("Tomás Quispe is a weaver. The answer is A.", "correct"),
    ("三天磨 3 * 12 = 36 袋。36 - 20 = 16。16 + 7 = 23。The answer is 23.", "correct"),
    ("There are 6 llamas. The answer is 6.", "correct"),
]


def loss_curve() -> dict[str, Any]:
    """Training and held-out loss over tokens, one point missing."""
    x = [1000.0 * i for i in range(1, 2001)]
    train = [7.6 * math.exp(-i / 160) + 1.28 + 0.09 * math.sin(i * 1.7) * math.exp(-i / 900) for i in range(1, 2001)]
    held = [None if i == 9 else 7.6 * math.exp(-100 * i / 165) + 1.36 for i in range(1, 21)]
    series = [{"name": "training", "x": x, "y": train}, {"name": "held out", "x": x[99::100], "y": held}]
    return {
        "kind": "lines",
        "title": "Loss",
        "x_label": "tokens",
        "y_label": "nats per token",
        "series": series,
        "y_scale": "log",
    }


def curate_panels() -> list[dict[str, Any]]:
    """A funnel and the mix."""
    names = [
        "crawl",
        "extracted",
        "language",
        "rules",
        "line filter",
        "exact copies",
        "near-copies (MinHash, 5-grams, Jaccard 0.8)",
        "quality",
        "personal data",
        "decontaminated",
        "mixed",
    ]
    documents = [41_250, 40_812, 39_004, 31_877, 31_870, 27_001, 19_410, 18_022, 18_022, 17_960, 16_400]
    tokens = [
        9_120_411,
        6_210_554,
        6_001_230,
        5_104_210,
        4_800_134,
        4_012_110,
        3_110_984,
        2_980_410,
        2_979_001,
        2_950_210,
        2_400_123,
    ]
    steps = [{"name": n, "documents": d, "tokens": t} for n, d, t in zip(names, documents, tokens, strict=True)]
    mix = [
        {"label": label, "value": value, "group": group}
        for label, before, after in (
            ("general knowledge", 0.61, 0.5),
            ("mathematics and reasoning", 0.11, 0.25),
            ("code", 0.09, 0.17),
            ("multilingual (español, 中文)", 0.19, 0.08),
        )
        for group, value in (("before", before), ("after", after))
    ]
    rules = [
        ["too few words", 3120, 0.0764, "short pages"],
        ["symbol ratio", 911, 0.0223, ATTACK],
        ["repeated lines (a very long rule name that wraps)", 4, 0.0001, None],
    ]
    return [
        {"kind": "funnel", "title": "What is left after each step", "steps": steps},
        {"kind": "bars", "title": "Data mix by domain", "unit": "share", "items": mix},
        {
            "kind": "table",
            "title": "Why documents were dropped",
            "columns": ["rule", "documents", "share", "example"],
            "rows": rules,
        },
    ]


def example_recipe() -> dict[str, Any]:
    """The recipe of the lap; `export` never finished."""
    stages = [
        "world",
        "curate",
        "tokenizer",
        "tokens",
        "pretrain",
        "sft",
        "baselines",
        "eval-base",
        "eval-chat",
        "export",
    ]
    about = "The whole recipe on two CPU cores: a synthetic village, a tokenizer, a base and a chat model, measured."
    return {
        "name": "nano",
        "description": about,
        "seed": 0,
        "stages": {name: {"kind": name.split("-")[0]} for name in stages},
    }


def example_manifests() -> list[dict[str, Any]]:
    """All finished stages in the order of the lap."""
    bars = [
        {"label": "2 steps", "value": 0.78, "low": 0.74, "high": 0.81},
        {"label": "3 steps", "value": 0.31, "low": 0.26, "high": 0.36},
        {"label": "4 steps", "value": 0.0, "low": 0.0, "high": 0.02},
    ]
    pages = {
        "kind": "bars",
        "title": "Pages written",
        "unit": "pages",
        "items": [
            {"label": "articles", "value": 18210},
            {"label": "question pages", "value": 14020},
            {"label": "stories", "value": 5110},
            {"label": "spam", "value": 2100},
        ],
    }
    return [
        manifest(
            "world",
            "world",
            18.4,
            312_000_000,
            metrics={"pages": 41250, "facts": 250, "crawl_bytes": 61_200_411},
            panels=[
                pages,
                {
                    "kind": "text",
                    "title": "A page of the crawl",
                    "text": "Village of Qocha.\nThe miller sells flour at 4 soles a bag. 磨坊主卖面粉。",
                },
            ],
        ),
        manifest(
            "curate",
            "curate",
            31.2,
            1_204_000_000,
            {"crawl": ["world", "data/extra-crawl.warc.gz"]},
            metrics={
                "documents_kept": 16400,
                "kept_share": 0.3976,
                "near_copy_recall": 0.981,
                "bytes_per_s": 4_120_332.5,
            },
            panels=curate_panels(),
        ),
        manifest(
            "tokenizer",
            "tokenizer",
            6.1,
            402_000_000,
            {"documents": "curate"},
            metrics={"vocab_size": 2048, "bytes_per_token": 3.412},
        ),
        manifest(
            "tokens",
            "tokens",
            4.0,
            388_000_000,
            {"documents": "curate", "tokenizer": "tokenizer"},
            metrics={"train_tokens": 2_400_123, "heldout_tokens": 48_110},
            panels=None,
        ),
        manifest(
            "pretrain",
            "pretrain",
            247.9,
            1_611_000_000,
            {"tokens": "tokens", "tokenizer": "tokenizer"},
            metrics={"num_parameters": 1_016_448, "tokens_per_s": 8713.4, "heldout_bits_per_byte": 0.7123},
            panels=[
                loss_curve(),
                {
                    "kind": "lines",
                    "title": "Learning rate",
                    "x_label": "step",
                    "y_label": "learning rate",
                    "series": [
                        {
                            "name": "lr",
                            "x": list(range(0, 1000, 10)),
                            "y": [min(1, i / 100) * 0.003 * (1 - i / 1000) for i in range(0, 1000, 10)],
                        }
                    ],
                },
            ],
        ),
        manifest(
            "sft",
            "sft",
            88.0,
            1_702_000_000,
            {"model": "pretrain", "dialogs": "world"},
            metrics={"dialogs": 6000, "loss": 0.1021},
            panels=[{"kind": "hologram", "title": "A kind nobody knows"}, {"kind": "funnel", "title": "Malformed"}],
        ),
        manifest(
            "baselines",
            "baselines",
            9.3,
            512_000_000,
            {"exams": "world", "documents": "curate"},
            scores=baseline_scores(),
        ),
        manifest(
            "eval-base",
            "evaluate",
            38.5,
            700_000_000,
            {"model": "pretrain", "exams": "world"},
            scores=model_scores(BASE, "nll"),
            panels=[samples(BASE_ANSWERS)],
        ),
        manifest(
            "eval-chat",
            "evaluate",
            44.2,
            731_000_000,
            {"model": "sft", "exams": "world"},
            scores=model_scores(CHAT, "letter"),
            panels=[
                samples(CHAT_ANSWERS[:3]),
                {
                    "kind": "bars",
                    "title": "Accuracy by number of steps",
                    "unit": "share",
                    "items": bars,
                    "note": "95% intervals over items",
                },
            ],
        ),
    ]


# The long lap: after sft come rejection sampling, DPO, PPO and two rounds, of which the second is rolled back.
MODELS = {
    "eval-base": "pretrain",
    "eval-sft": "sft",
    "eval-rs": "sft-rs",
    "eval-dpo": "dpo",
    "eval-ppo": "ppo",
    "round1.evaluate": "round1.average",
    "round2.evaluate": "round2.average",
}
CLIMB = {
    "village-choice": (0.655, 0.8633, 0.871, 0.902, 0.9067, 0.9283, 0.9217),
    "village-word": (0.412, 0.784, 0.822, 0.868, 0.882, 0.914, 0.886),
    "village-hard": (0.0, 0.214, 0.262, 0.258, 0.318, 0.362, 0.31),
}
PASS = {
    "eval-sft": (0.211, 0.302, 0.391, 0.468, 0.531),
    "eval-rs": (0.258, 0.344, 0.427, 0.492, 0.539),
    "eval-dpo": (0.262, 0.339, 0.41, 0.47, 0.512),
    "eval-ppo": (0.32, 0.381, 0.436, 0.481, 0.516),
    "round1.evaluate": (0.358, 0.421, 0.479, 0.523, 0.562),
    "round2.evaluate": (0.309, 0.377, 0.438, 0.487, 0.525),
}
PREFERENCE = {"reward": (0.742, 0.531, 0.811), "dpo": (0.713, 0.531, 0.777), "round1.reward": (0.768, 0.518, 0.842)}
LONG_STAGES = {
    "world": "world",
    "curate": "curate",
    "tokenizer": "tokenizer",
    "tokens": "tokens",
    "baselines": "baselines",
    "pretrain": "pretrain",
    "eval-base": "evaluate",
    "sft": "sft",
    "eval-sft": "evaluate",
    "reward": "reward",
    "generate": "generate",
    "select": "select",
    "sft-rs": "sft",
    "eval-rs": "evaluate",
    "dpo": "dpo",
    "eval-dpo": "evaluate",
    "ppo": "ppo",
    "eval-ppo": "evaluate",
    **{
        f"round{number}.{name}": kind
        for number in (1, 2)
        for name, kind in (
            ("reward", "reward"),
            ("dpo", "dpo"),
            ("average", "average"),
            ("evaluate", "evaluate"),
            ("keep", "keep"),
        )
    },
}
LONG_INPUTS = {
    "sft": {"model": "pretrain"},
    "sft-rs": {"model": "sft", "dialogs": "select"},
    "dpo": {"model": "sft-rs", "preferences": "world"},
    "ppo": {"model": "dpo", "reward": "reward"},
    "round1.dpo": {"model": "ppo"},
    "round1.average": {"models": ["round1.dpo", "ppo"]},
    "round1.keep": {
        "before": "ppo",
        "after": "round1.average",
        "scores_before": "eval-ppo",
        "scores_after": "round1.evaluate",
    },
    "round2.dpo": {"model": "round1.keep"},
    "round2.average": {"models": ["round2.dpo", "round1.keep"]},
    "round2.keep": {
        "before": "round1.keep",
        "after": "round2.average",
        "scores_before": "round1.evaluate",
        "scores_after": "round2.evaluate",
    },
}
LONG_METRICS = {
    "round1.keep": {"kept": 1.0, "gain": 0.024, "p_value": 0.031},
    "round2.keep": {"kept": 0.0, "gain": -0.021, "p_value": 0.048},
}


def long_recipe() -> dict[str, Any]:
    """The recipe of the long lap."""
    about = "The whole lap with two rounds: rejection sampling, DPO and PPO after SFT, every model measured."
    return {"name": "rounds", "description": about, "stages": {name: {"kind": k} for name, k in LONG_STAGES.items()}}


def long_manifests() -> list[dict[str, Any]]:
    """Its stages in order: seven evaluations, three sampled curves, preferences, and PPO that games its reward."""
    made = []
    for number, (name, kind) in enumerate(LONG_STAGES.items()):
        more: dict[str, Any] = {"metrics": LONG_METRICS.get(name, {})}
        inputs: dict[str, Any] = LONG_INPUTS.get(name, {})
        if name in MODELS:
            inputs = {"model": MODELS[name], "exams": "world"}
            more |= {"scores": long_scores(name), "panels": [long_samples(name)]}
        elif name in PREFERENCE:
            more["scores"] = preference_scores(PREFERENCE[name])
        elif kind == "ppo":
            more["panels"] = ppo_panels()
        elif kind == "baselines":
            more["scores"] = baseline_scores()
        made.append(manifest(name, kind, 12.0 + 7 * number, 600_000_000 + 20_000_000 * number, inputs, **more))
    return made


def long_scores(stage: str) -> list[dict[str, Any]]:
    """Headline scores of one evaluation, its held-out text, and pass@K where it sampled."""
    place = list(MODELS).index(stage)
    scores = model_scores({task: values[place] for task, values in CLIMB.items()}, "chat" if place else "base")
    sampled = [
        {
            "task": "village-hard-samples",
            "metric": f"pass@{2**power}",
            "value": value,
            "ci95": interval(value, 128),
            "n": 128,
            "headline": power == 0,  # an evaluation flags the first score of its task
            "settings": {"temperature": 0.8},
        }
        for power, value in enumerate(PASS.get(stage, ()))
    ]
    return scores + sampled


def preference_scores(values: tuple[float, float, float]) -> list[dict[str, Any]]:
    """As the annotators said, by length alone, and as is true."""
    names = ("accuracy", "accuracy/length-only", "accuracy/truth")
    return [
        {
            "task": "preference",
            "metric": name,
            "value": value,
            "ci95": interval(value, 400),
            "n": 400,
            "headline": False,
            "settings": {},
        }
        for name, value in zip(names, values, strict=True)
    ]


def long_samples(stage: str) -> dict[str, Any]:
    """Four items; a later model answers more of them, and one rambles."""
    place = list(MODELS).index(stage)
    answers = [CHAT_ANSWERS[i] if place > i else BASE_ANSWERS[i] for i in range(4)]
    if place == 4:
        answers[0] = ("The basket holds eggs and the eggs are in the basket, which is good. " * 12, "wrong")
    return samples(answers)


def ppo_panels() -> list[dict[str, Any]]:
    """A reward that rises while the held-out verifier turns, and what goes with it."""
    steps = list(range(0, 151))
    checks = steps[::10]
    reward = [-0.4 + 3.6 * (1 - math.exp(-i / 60)) + 0.12 * math.sin(i * 1.3) for i in steps]
    verified = [0.26 + 0.11 * math.sin(math.pi * min(i / 95, 1.3) / 1.7) - 0.0009 * max(0, i - 90) for i in checks]
    kl = [0.0011 * i + 0.01 * math.sin(i) ** 2 for i in steps]
    return [
        {
            "kind": "lines",
            "title": "Reward against the held-out verifier",
            "x_label": "step",
            "y_label": "reward",
            "right_label": "share verified",
            "series": [
                {"name": "reward of the samples", "x": steps, "y": reward},
                {"name": "right, held-out prompts", "x": checks, "y": verified, "right": True},
            ],
            "note": "Where the reward goes on rising and the verifier turns, the policy games the reward model.",
        },
        {
            "kind": "lines",
            "title": "Divergence from the reference",
            "x_label": "step",
            "y_label": "nats per answer",
            "series": [{"name": "KL", "x": steps, "y": kl}],
        },
        {
            "kind": "lines",
            "title": "Length and entropy",
            "x_label": "step",
            "y_label": "tokens",
            "right_label": "nats",
            "series": [
                {"name": "length of answers", "x": steps, "y": [48 + 0.12 * i + 3 * math.sin(i) for i in steps]},
                {"name": "entropy", "x": steps, "y": [0.9 * math.exp(-i / 90) + 0.2 for i in steps], "right": True},
            ],
        },
    ]
