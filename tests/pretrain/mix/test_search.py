"""The search: it finds a known optimum under its limits, trains nothing twice, and trains real proxies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json
from puna.base.output import Inputs, StageOutput
from puna.pretrain.mix.search import MixSearchConfig, run, search
from tests.pretrain.mix.conftest import MakeTokens, pages

TOKENS = {"books": 5_000_000, "code": 3_000_000, "web": 2_000_000}
# Losses of a made world: each domain learns from itself, and code a little from books.
MATRIX = np.array([[-1.5, -0.1, -0.4], [-0.5, -2.0, 0.0], [-0.3, 0.1, -1.2]])
FLOORS = np.array([2.0, 1.0, 2.5])


def made_losses(shares: np.ndarray) -> np.ndarray:
    return FLOORS + np.exp(0.5 + MATRIX @ shares)


class MadeTrainer:
    """Losses by the formula; it notes whom it trained, and may be told to fail."""

    def __init__(self, fails_at: str = "") -> None:
        self.trained: list[str] = []
        self.fails_at = fails_at

    def train(self, name: str, shares: dict[str, float]) -> dict[str, float]:
        if name == self.fails_at:
            raise KeyboardInterrupt
        self.trained.append(name)
        losses = made_losses(np.array([shares[domain] for domain in sorted(shares)]))
        return dict(zip(sorted(shares), losses.tolist(), strict=True))


def config(**changes: Any) -> MixSearchConfig:
    return MixSearchConfig(**{"num_tokens": 10_000_000, "num_proxies": 40, "candidates": 3000, **changes})


def best_by_scipy(target: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The true optimum over the simplex under the caps."""
    found = minimize(
        lambda shares: made_losses(shares) @ target,
        caps / caps.sum(),
        bounds=[(0, cap) for cap in caps],
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
        method="SLSQP",
        tol=1e-12,
    )
    return found.x


@pytest.mark.parametrize("max_epochs", [4.0, 1.2])
def test_it_finds_the_best_mixture_there_is(max_epochs: float, tmp_path: Path) -> None:
    trainer, out = MadeTrainer(), StageOutput(tmp_path, seed=2)
    search(config(max_epochs=max_epochs), TOKENS, trainer.train, out)
    result = read_json(out.path / "search.json")
    found = np.array([result["weights"][name] for name in sorted(TOKENS)])
    caps = np.minimum(np.array([0.5, 0.3, 0.2]) * max_epochs, 1)
    target = np.ones(3) / 3
    best = made_losses(best_by_scipy(target, caps)) @ target
    natural = made_losses(np.array([0.5, 0.3, 0.2])) @ target
    reached = (natural - made_losses(found) @ target) / (natural - best)
    assert reached > 0.95
    assert (found <= caps + 1e-9).all() and found.sum() == pytest.approx(1)
    assert result["measured"]["natural"] == pytest.approx(natural, rel=2e-3)
    assert out.metrics["measured_gain"] > 0
    assert out.metrics["rank_correlation"] > 0.97  # mixtures at the same corner differ by rounding alone
    assert result["rank_correlation"]["code"][1] <= result["rank_correlation"]["code"][0]


@pytest.mark.parametrize(
    ("form", "num_proxies", "least"), [("log-linear", 40, 0.85), ("linear", 40, 0.85), ("trees", 8, 0.4)]
)
def test_the_target_is_what_is_lowered(form: str, num_proxies: int, least: float, tmp_path: Path) -> None:
    settings = config(target={"code": 1.0}, form=form, num_proxies=num_proxies, candidates=1000)
    search(settings, TOKENS, MadeTrainer().train, out := StageOutput(tmp_path))
    weights = read_json(out.path / "search.json")["weights"]
    assert weights["code"] > least


def test_a_killed_search_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole, trainer = StageOutput(tmp_path / "whole"), MadeTrainer()
    search(config(), TOKENS, trainer.train, whole)
    assert len(trainer.trained) == 41 and trainer.trained[-1] == "found"
    with pytest.raises(KeyboardInterrupt):
        search(config(), TOKENS, MadeTrainer("proxy-0017").train, StageOutput(tmp_path / "killed"))
    rest, again = MadeTrainer(), StageOutput(tmp_path / "killed")
    search(config(), TOKENS, rest.train, again)
    assert rest.trained == trainer.trained[17:]
    assert again.records() == whole.records() and again.metrics == whole.metrics and again.panels == whole.panels


def test_the_natural_mixture_stays_if_the_proxy_of_the_one_found_is_no_better(tmp_path: Path) -> None:
    class Disappointing(MadeTrainer):
        def train(self, name: str, shares: dict[str, float]) -> dict[str, float]:
            losses = super().train(name, shares)
            return {domain: loss + (name == "found") for domain, loss in losses.items()}

    search(config(num_proxies=8), TOKENS, Disappointing().train, out := StageOutput(tmp_path))
    result = read_json(out.path / "search.json")
    assert result["chosen"] == "natural" and result["found"] != result["weights"]
    assert result["weights"] == pytest.approx({"books": 0.5, "code": 0.3, "web": 0.2})
    assert out.metrics["measured_gain"] < 0 and "the natural one stays" in out.panels[0]["note"]


def test_targets_by_name(tmp_path: Path) -> None:
    for target, expected in (("equal", [1 / 3] * 3), ("natural", [0.5, 0.3, 0.2])):
        search(config(target=target, num_proxies=8), TOKENS, MadeTrainer().train, out := StageOutput(tmp_path / target))
        assert list(read_json(out.path / "search.json")["target"].values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tokens": 50_000_000}, "expected at most 40,000,000 under max_epochs, came 50,000,000"),
        ({"target": {"forum": 1}}, "target: no domain 'forum' by source; came: books, code, web"),
        ({"target": {"code": 0}}, "target: expected a weight above 0"),
        ({"num_tokens": 1000}, "proxy.num_tokens: expected at most num_tokens = 1,000, came 2,000,000"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        search(config(**changes), TOKENS, MadeTrainer().train, StageOutput(tmp_path))


def test_real_proxies_find_that_a_domain_is_learned_from_itself(
    make_tokens: MakeTokens, tokenizer_folder: Path, tmp_path: Path
) -> None:
    """Two kinds of pages of other letters; what lowers the loss on the small kind is more of it."""
    folder = make_tokens([*pages("article", 100, 20), *pages("zebra", 25, 20), *pages("yak", 2, 20)])
    proxy = {
        "num_tokens": 2048,
        "row_tokens": 64,
        "batch_rows": 4,
        "micro_batch": 4,
        "lr": 0.02,
        "schedule": {"warmup_steps": 2},
        "model": {"dim": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn_dim": 32, "max_position": 64},
    }
    # No yak is held out, which is no matter: it is one domain with the zebras.
    settings = {
        "by": "section",
        "groups": {"zebra": ["zebra", "yak"]},
        "num_tokens": 3000,
        "num_proxies": 8,
        "form": "linear",
        "target": {"zebra": 1},
    }
    out = StageOutput(tmp_path / "out", seed=1)
    given = Inputs({"tokens": folder, "tokenizer": tokenizer_folder})
    run(MixSearchConfig(**settings, proxy=proxy), given, out)
    result = read_json(out.path / "search.json")
    assert result["weights"]["zebra"] > 1.5 * result["natural"]["zebra"]
    assert result["measured"]["found"] < result["measured"]["natural"]
    assert not list(out.state.iterdir())  # proxies leave their losses, not their weights
    empty = make_tokens([*pages("article", 20, 20), *pages("zebra", 3, 20), *pages("yak", 2, 20)])
    settings, given = {**settings, "num_tokens": 2048}, Inputs({"tokens": empty, "tokenizer": tokenizer_folder})
    with pytest.raises(DataError, match="expected held-out documents of every domain, came none of zebra"):
        run(MixSearchConfig(**settings, proxy=proxy), given, StageOutput(tmp_path / "empty"))
