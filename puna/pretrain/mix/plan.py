"""The stage `mix`: token shards, shares of domains -> a plan of how often each document is learned.

mix.json      settings and, by domain, tokens wanted and got, epochs
copies.npy    uint16 [documents]: how often each is learned; documents of the inputs in the order of their names

A plan, not a second copy of the tokens: `pretrain` follows it (input `mix`). Repetition costs no disk, and another mix
of the same tokens no tokenizing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from puna.base.config import Config, did_you_mean
from puna.base.errors import ConfigError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.pretrain.mix.allocate import Allocation, allocate
from puna.pretrain.mix.copies import choose_copies, order_keys
from puna.pretrain.mix.corpus import Corpus

FORMAT_VERSION = 1
PLAN_FILE, COPIES_FILE = "mix.json", "copies.npy"
MAX_EPOCHS = 4.0
_MOST_COPIES = int(np.iinfo(np.uint16).max)
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class DomainConfig(Config):
    """What a domain is, and how often its documents may be repeated.

    by: `source`, `lang`, `host` or `section` (the first part of an address's path), a label that the tokens stage kept,
    or `input`, the name under which the tokens were given. groups: domains that join several values of it; "*" stands
    for all that no group names.
    max_epochs: times that a document is learned, at most, over this mix and those it comes `after`; by domain, or one
    number. Up to four passes are worth nearly as much as new text (Muennighoff 2023, arXiv 2305.16264, section 6).
    """

    by: str = "source"
    groups: dict[str, list[str]] = Field(default_factory=dict)
    max_epochs: Positive | dict[str, Positive] = MAX_EPOCHS


class MixConfig(DomainConfig):
    """Settings of a mix.

    weights: the share of each domain in the tokens that are learned, relative to their sum; every domain needs one, 0
    leaves it out; none at all is as the tokens are. upsample: factors on that, for some domains. num_tokens: of the
    mix (0: one pass over the domains with a weight).
    """

    weights: dict[str, Weight] = Field(default_factory=dict)
    upsample: dict[str, Weight] = Field(default_factory=dict)
    num_tokens: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Plan:
    """How often each document of a corpus is learned, and the row of the report for each domain."""

    copies: npt.NDArray[np.uint16]
    domains: list[dict[str, Any]]

    @property
    def num_tokens(self) -> int:
        """Tokens that are learned in one pass over the plan."""
        return sum(row["got"] for row in self.domains)


def run(config: MixConfig, inputs: Inputs, out: StageOutput) -> None:
    """Make a plan for the tokens of all inputs but `after` (mixes whose documents were learned before) and `weights` (a
    mix search, whose shares are taken).

    Raises ConfigError if weights and domains do not agree, or no domain has a weight.
    """
    names = [name for name in inputs.names() if name not in ("after", "weights")]
    corpus = Corpus({name: inputs.one(name) for name in names})
    domains = corpus.domains(config.by, config.groups)
    weights = _weights(config, inputs, corpus.tokens_by(domains))
    seen = np.zeros(len(domains), np.int64)
    for folder in inputs.many("after") if inputs.has("after") else []:
        seen += read_copies(folder, corpus).astype(np.int64)
    num_tokens = config.num_tokens or sum(n for name, n in corpus.tokens_by(domains).items() if weights[name] > 0)
    made = plan(corpus, domains, weights, config.max_epochs, num_tokens, out.seed, seen)
    if not out.done(COPIES_FILE):
        with out.unit(COPIES_FILE) as unit:
            np.save(unit.path, made.copies)
    if not out.done(PLAN_FILE):
        with out.unit(PLAN_FILE) as unit:
            values = {"format_version": FORMAT_VERSION, "by": config.by, "tokens": corpus.digests}
            write_json(unit.path, {**values, "num_tokens": made.num_tokens, "domains": made.domains})
    _report(made, num_tokens, out)


def plan(
    corpus: Corpus,
    domains: list[str],
    weights: dict[str, float],
    max_epochs: float | dict[str, float],
    num_tokens: float,
    seed: int,
    seen: npt.NDArray[np.int64] | None = None,
) -> Plan:
    """Allocate `num_tokens` to the domains and choose their documents; `seen`: how often each was learned before."""
    seen = np.zeros(len(domains), np.int64) if seen is None else seen
    places = np.array(domains, dtype=object).astype(str)
    members = {name: np.flatnonzero(places == name) for name in sorted(weights)}
    epochs = epoch_limits(max_epochs, members)
    limits = {}
    for name, own in members.items():
        # A document may be seen a fraction of an epoch more only if the domain's mean allows it: sums of tokens decide.
        before = float(corpus.sizes[own] @ seen[own])
        limits[name] = max(0.0, epochs[name] * float(corpus.sizes[own].sum()) - before)
    allocation = allocate(weights, limits, num_tokens)
    copies = np.zeros(len(domains), np.int64)
    keys = order_keys(corpus.ids, seed)
    for name, own in members.items():
        chosen = choose_copies(corpus.sizes[own], seen[own], keys[own], allocation.got[name], limits[name])
        copies[own] = chosen
    if copies.max(initial=0) > _MOST_COPIES:
        raise ConfigError(f"max_epochs: expected at most {_MOST_COPIES} copies of a document, came {copies.max()}")
    rows = [_row(name, own, corpus.sizes, copies, seen, epochs[name], allocation) for name, own in members.items()]
    return Plan(copies.astype(np.uint16), rows)


def epoch_limits(max_epochs: float | dict[str, float], domains: Iterable[str]) -> dict[str, float]:
    """The limit of every domain. Raises ConfigError for one that does not occur."""
    names = list(domains)
    if not isinstance(max_epochs, dict):
        return dict.fromkeys(names, max_epochs)
    if unknown := max_epochs.keys() - set(names):
        raise ConfigError(f"max_epochs: no domain {sorted(unknown)[0]!r}; came: {', '.join(names)}")
    return {name: max_epochs.get(name, MAX_EPOCHS) for name in names}


def read_copies(folder: Path, corpus: Corpus) -> npt.NDArray[np.uint16]:
    """The copies of a plan for the documents of `corpus` [N], which may hold more tokens than the plan was made of.

    Raises ConfigError if the plan was made of tokens that `corpus` lacks.
    """
    made = read_json(folder / PLAN_FILE)
    if made.get("format_version") != FORMAT_VERSION:
        raise ConfigError(f"{folder}: expected a mix of format {FORMAT_VERSION}, came {made.get('format_version')!r}")
    copies: npt.NDArray[np.uint16] = np.load(folder / COPIES_FILE)
    lengths = {digest: len(shards) for digest, shards in zip(corpus.digests.values(), corpus.shards.values())}
    by_digest, start = {}, 0
    for name, digest in made["tokens"].items():
        if digest not in lengths:
            raise ConfigError(f"{folder}: expected all tokens that the mix was made of, {name} is missing")
        by_digest[digest] = copies[start : start + lengths[digest]]
        start += lengths[digest]
    none = {digest: np.zeros(length, np.uint16) for digest, length in lengths.items()}
    return np.concatenate([by_digest.get(digest, none[digest]) for digest in corpus.digests.values()])


def _weights(config: MixConfig, inputs: Inputs, tokens: dict[str, int]) -> dict[str, float]:
    """The weight of every domain that occurs. Raises ConfigError for one that is missing or unknown."""
    weights = dict(config.weights)
    if inputs.has("weights"):
        if weights:
            raise ConfigError("weights: expected none beside the input weights, which is a mix search")
        weights = read_json(inputs.one("weights") / "search.json")["weights"]
    weights = weights or {name: float(count) for name, count in tokens.items()}
    for name in (*weights, *config.upsample):
        if name not in tokens:
            raise ConfigError(
                f"weights: no domain {name!r} by {config.by}{did_you_mean(name, tokens)}; came: {', '.join(tokens)}"
            )
    if missing := [name for name in tokens if name not in weights]:
        raise ConfigError(f"weights: expected one for every domain (0 leaves it out), came none for {missing[:8]}")
    return {name: weights[name] * config.upsample.get(name, 1.0) for name in tokens}


def _row(
    name: str,
    own: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    copies: npt.NDArray[np.int64],
    seen: npt.NDArray[np.int64],
    max_epochs: float,
    allocation: Allocation,
) -> dict[str, Any]:
    tokens, got, before = (int(sizes[own] @ times) for times in (np.ones(len(own), np.int64), copies[own], seen[own]))
    return {
        "domain": name,
        "documents": len(own),
        "tokens": tokens,
        "wanted": round(allocation.wanted[name]),
        "got": got,
        "epochs": got / max(1, tokens),
        "epochs_before": before / max(1, tokens),
        "max_epochs": max_epochs,
        "limited": name in allocation.limited,
    }


def _report(made: Plan, num_tokens: float, out: StageOutput) -> None:
    """Metrics and panels: what was wanted and got of each domain."""
    rows = sorted(made.domains, key=lambda row: -row["got"])
    held, got = max(1, sum(row["tokens"] for row in rows)), max(1, made.num_tokens)
    limited = [row["domain"] for row in rows if row["limited"]]
    out.metric(mix_tokens=made.num_tokens, missing_tokens=max(0, round(num_tokens) - made.num_tokens))
    out.metric(limited_domains=len(limited), max_epochs=max(row["epochs"] + row["epochs_before"] for row in rows))
    percent = [[f"{100 * part:.1f}%" for part in _shares(row, held, num_tokens, got)] for row in rows]
    cells = [
        [row["domain"] or '""', row["documents"], row["tokens"], *shares, round(row["epochs"], 2), row["max_epochs"]]
        for row, shares in zip(rows, percent, strict=True)
    ]
    columns = ["domain", "documents", "tokens", "as it is", "wanted", "got", "epochs", "at most"]
    note = f"at their limit, the rest shared among the others: {', '.join(limited)}" if limited else "no limit was met"
    out.panel("table", "The mix by domain", columns=columns, rows=cells, note=note)
    items = [{"label": row["domain"] or '""', "value": round(row["epochs"], 3)} for row in rows]
    out.panel("bars", "Epochs of each domain", unit="epochs", items=items)


def _shares(row: dict[str, Any], held: int, num_tokens: float, got: int) -> tuple[float, float, float]:
    return row["tokens"] / held, row["wanted"] / num_tokens, row["got"] / got
