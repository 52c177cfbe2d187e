"""The stage `mix-search`: many small proxies on random mixtures -> the mixture that a regression expects to be best.

RegMix (Liu 2024, arXiv 2407.01492), with Olmix's repetition limit (Chen 2026, arXiv 2602.12237): mixtures are sampled
around the natural one, a proxy is trained on each, a regression learns every domain's held-out loss from the shares,
and of many sampled mixtures the best few are averaged. No share may exceed what the repetition limit allows the run
that the mixture is for.

proxies/proxy-0000.json    shares and held-out losses of a proxy: a unit each, so a killed search goes on
search.json                the weights, which the stage `mix` takes as its input `weights`: those found, or if their
                           proxy is no better the natural ones
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from puna.base.errors import ConfigError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.pretrain.mix.plan import DomainConfig, Weight, epoch_limits
from puna.pretrain.mix.proxy import ProxyTrainer
from puna.pretrain.mix.rank import spearman, spearman_interval
from puna.pretrain.mix.regress import FORMS, Float64, Form, held_out_predictions
from puna.pretrain.mix.sample import capped, sample_mixtures
from puna.pretrain.run import PretrainConfig

Trainer = Callable[[str, dict[str, float]], dict[str, float]]
"""Trains a proxy, by its name, on the given shares of domains; the held-out loss of each domain, in nats a token."""

_BEST = 64


class MixSearchConfig(DomainConfig):
    """Settings of a mix search.

    num_tokens: of the run that the mixture is for, which the repetition limit holds for. target: weight of each
    domain's held-out loss in what is to be lowered, `natural` for its share of the tokens. num_proxies: the natural
    mixture and random ones; on RegMix's 17 domains 48 order unseen mixtures to 0.92, 128 to 0.96, 512 to 0.98
    (docs/mix.md). form: of the regression; trees are best, and dearest, from some 100 proxies on. temperature: of the
    natural shares that mixtures are sampled around. candidates: mixtures that the regression is asked about. proxy: how
    one is trained.
    """

    num_tokens: int = Field(ge=1)
    target: Literal["equal", "natural"] | dict[str, Weight] = "equal"
    num_proxies: int = Field(default=64, ge=8)
    form: Form = "log-linear"
    temperature: float = Field(default=0.5, gt=0, le=1)
    candidates: int = Field(default=50_000, ge=_BEST)
    proxy: PretrainConfig = Field(default_factory=PretrainConfig)


def run(config: MixSearchConfig, inputs: Inputs, out: StageOutput) -> None:
    """Search the best mixture of the tokens of all inputs but `tokenizer`, by proxies that pretraining trains.

    Raises ConfigError if the limits leave too little text, or target and domains do not agree; DataError if nothing is
    held out of a domain.
    """
    names = [name for name in inputs.names() if name != "tokenizer"]
    folders = {name: inputs.one(name) for name in names}
    trainer = ProxyTrainer(config.proxy, folders, inputs.one("tokenizer"), config.by, config.groups, out)
    search(config, trainer.tokens, trainer.train, out)


def search(config: MixSearchConfig, tokens: dict[str, int], train: Trainer, out: StageOutput) -> None:
    """Search over domains of so many `tokens` each; `train` is called once for every mixture that is not done yet."""
    domains = sorted(tokens)
    sizes = np.array([tokens[name] for name in domains], np.float64)
    target = _target(config, domains, sizes)
    natural, caps = sizes / sizes.sum(), _caps(config, domains, sizes)
    mixtures = np.concatenate(
        [
            capped(natural[None], natural, caps),
            sample_mixtures(natural, caps, config.num_proxies - 1, out.seed, "proxies", config.temperature),
        ]
    )
    losses = np.array(
        [
            _measured(f"proxy-{number:04d}", mixture, domains, train, out, number, config.num_proxies)
            for number, mixture in enumerate(mixtures)
        ]
    )
    fits = [FORMS[config.form](mixtures, column) for column in losses.T]

    def predict(points: Float64) -> Float64:
        return np.stack([fit.predict(points) for fit in fits], 1) @ target

    candidates = sample_mixtures(natural, caps, config.candidates, out.seed, "candidates", config.temperature)
    best = candidates[np.argsort(predict(candidates), kind="stable")[:_BEST]].mean(0)
    found = _measured("found", best, domains, train, out, config.num_proxies, config.num_proxies)
    # A regression may promise what a proxy does not keep; then the natural mixture stays.
    better = float(found @ target) < float(losses[0] @ target)
    result = {
        "weights": dict(zip(domains, (best if better else mixtures[0]).tolist(), strict=True)),
        "chosen": "found" if better else "natural",
        "found": dict(zip(domains, best.tolist(), strict=True)),
        "natural": dict(zip(domains, natural.tolist(), strict=True)),
        "form": config.form,
        "target": dict(zip(domains, target.tolist(), strict=True)),
        "predicted": {"found": float(predict(best[None])[0]), "natural": float(predict(mixtures[:1])[0])},
        "measured": {"found": float(found @ target), "natural": float(losses[0] @ target)},
        "rank_correlation": _rank_correlations(config.form, mixtures, losses, target, domains),
        "losses": {"found": found.tolist(), "natural": losses[0].tolist(), "domains": domains},
    }
    if not out.done("search.json"):
        with out.unit("search.json") as unit:
            write_json(unit.path, result)
    _report(result, caps, config, out)


def _target(config: MixSearchConfig, domains: list[str], sizes: Float64) -> Float64:
    if config.target == "equal":
        weights = np.ones(len(domains))
    elif config.target == "natural":
        weights = sizes
    else:
        if unknown := config.target.keys() - set(domains):
            raise ConfigError(f"target: no domain {sorted(unknown)[0]!r} by {config.by}; came: {', '.join(domains)}")
        weights = np.array([config.target.get(name, 0.0) for name in domains])
    if weights.sum() <= 0:
        raise ConfigError("target: expected a weight above 0, came none")
    return np.asarray(weights / weights.sum(), np.float64)


def _caps(config: MixSearchConfig, domains: list[str], sizes: Float64) -> Float64:
    epochs = epoch_limits(config.max_epochs, domains)
    caps = np.array([epochs[name] for name in domains]) * sizes / config.num_tokens
    if caps.sum() < 1:
        most = int((caps * config.num_tokens).sum())
        raise ConfigError(f"num_tokens: expected at most {most:,} under max_epochs, came {config.num_tokens:,}")
    if config.proxy.num_tokens > config.num_tokens:
        raise ConfigError(
            f"proxy.num_tokens: expected at most num_tokens = {config.num_tokens:,}, came {config.proxy.num_tokens:,}"
        )
    return np.minimum(caps, 1.0)


def _measured(
    name: str, mixture: Float64, domains: list[str], train: Trainer, out: StageOutput, number: int, total: int
) -> Float64:
    """Held-out losses [D] of the proxy of a mixture, trained if it is not done yet."""
    file = f"proxies/{name}.json"
    if not out.done(file):
        out.progress(number, total + 1, "proxies")
        shares = dict(zip(domains, mixture.tolist(), strict=True))
        losses = train(name, shares)
        with out.unit(file) as unit:
            write_json(unit.path, {"shares": shares, "losses": losses})
    losses = read_json(out.path / file)["losses"]
    return np.array([losses[domain] for domain in domains])


def _rank_correlations(
    form: Form, mixtures: Float64, losses: Float64, target: Float64, domains: list[str]
) -> dict[str, list[float]]:
    """For the target and each domain: Spearman's correlation of mixtures unseen by the fit, and its interval."""
    predicted = np.stack([held_out_predictions(form, mixtures, column) for column in losses.T], 1)
    columns = {"target": (predicted @ target, losses @ target)}
    columns |= {name: (predicted[:, d], losses[:, d]) for d, name in enumerate(domains)}
    correlations = {}
    for name, (guessed, seen) in columns.items():
        rho = spearman(guessed, seen)
        correlations[name] = [rho, *spearman_interval(rho, len(mixtures))]
    return correlations


def _report(result: dict[str, Any], caps: Float64, config: MixSearchConfig, out: StageOutput) -> None:
    rho, low, high = result["rank_correlation"]["target"]
    predicted, measured = result["predicted"], result["measured"]
    out.metric(rank_correlation=rho, rank_correlation_low=low, rank_correlation_high=high, proxies=config.num_proxies)
    out.metric(predicted_gain=predicted["natural"] - predicted["found"])
    out.metric(measured_gain=measured["natural"] - measured["found"])
    rows, items = [], []
    losses = result["losses"]
    for place, name in enumerate(losses["domains"]):
        share, was = result["found"][name], result["natural"][name]
        loss = [round(losses[which][place], 4) for which in ("natural", "found")]
        correlation = round(result["rank_correlation"][name][0], 3)
        shares = [f"{100 * value:.1f}%" for value in (was, share, caps[place])]
        rows.append([name or '""', *shares, *loss, correlation])
        items += [{"label": name or '""', "value": v, "group": g} for g, v in (("as it is", was), ("found", share))]
    columns = ["domain", "as it is", "found", "at most", "loss as it is", "loss found", "rank correlation"]
    note = f"losses of proxies, held out, nats a token; target: rank correlation {rho:.3f} ({low:.3f} to {high:.3f}); "
    note += "its proxy is better" if result["chosen"] == "found" else "its proxy is no better, so the natural one stays"
    out.panel("table", "The mixture found by small proxies", columns=columns, rows=rows, note=note)
    out.panel("bars", "Shares as they are and as found", unit="share", items=items)
