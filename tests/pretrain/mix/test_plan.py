"""The stage `mix`: shares, limits, repetition and refusals, counted again from the plan and the documents."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.base.errors import ConfigError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.plan import MixConfig, read_copies, run
from tests.pretrain.mix.conftest import ALL, MakeTokens, pages

# Llama 3's mix (3.1.2), in one line; "general" and "multilingual" are groups of sections.
LLAMA3 = {"general": 50, "mathematics": 25, "code": 17, "multilingual": 8}
GROUPS = {"general": ["article"], "mathematics": ["maths"], "multilingual": ["spanish"]}
OF = {"article": "general", "maths": "mathematics", "code": "code", "spanish": "multilingual"}


@pytest.fixture
def mix(tmp_path: Path) -> Any:
    def mix(inputs: dict[str, Any], seed: int = 3, **config: Any) -> StageOutput:
        out = StageOutput(tmp_path / f"mix-{len(list(tmp_path.iterdir()))}", seed=seed)
        run(MixConfig(**{"by": "section", **config}), Inputs(inputs), out)
        return out

    return mix


def learned(out: StageOutput, folders: dict[str, Path]) -> Counter[str]:
    """How often each document id is learned."""
    corpus = Corpus(folders)
    return Counter(dict(zip(corpus.ids, read_copies(out.path, corpus).tolist(), strict=True)))


def by_domain(out: StageOutput) -> dict[str, dict[str, Any]]:
    return {row["domain"]: row for row in read_json(out.path / "mix.json")["domains"]}


def test_llama_3s_mix_is_reached_where_no_limit_stands_in_the_way(mix: Any, tokens: Path) -> None:
    out = mix({"tokens": tokens}, groups=GROUPS, weights=LLAMA3, num_tokens=4000)
    corpus = Corpus({"tokens": tokens})
    got: Counter[str] = Counter()
    for one, size, copies in zip(corpus.ids, corpus.sizes, read_copies(out.path, corpus), strict=True):
        got[OF[one[:-4]]] += int(size) * int(copies)
    assert got == {name: row["got"] for name, row in by_domain(out).items()}
    for name, weight in LLAMA3.items():
        assert 0 <= got[name] - 4000 * weight / 100 < corpus.sizes.max()  # rounded up to a whole document
    assert out.metrics["limited_domains"] == out.metrics["missing_tokens"] == 0
    bars = next(panel for panel in out.panels if panel["kind"] == "bars")
    shown = {item["label"]: item["value"] for item in bars["items"]}
    assert shown["code"] == pytest.approx(got["code"] / by_domain(out)["code"]["tokens"], abs=1e-3)


def test_no_domain_is_repeated_above_its_limit_and_what_is_missing_is_told(mix: Any, tokens: Path) -> None:
    limit = {"multilingual": 1.5, "code": 2, "mathematics": 20}
    out = mix({"tokens": tokens}, groups=GROUPS, weights=LLAMA3, num_tokens=9000, max_epochs=limit)
    rows = by_domain(out)
    assert rows["multilingual"]["epochs"] <= 1.5 and rows["code"]["epochs"] == 2.0
    assert [name for name, row in rows.items() if row["limited"]] == ["code", "multilingual"]
    assert rows["general"]["got"] / rows["mathematics"]["got"] == pytest.approx(2, rel=0.05)
    assert sum(row["got"] for row in rows.values()) == pytest.approx(9000, rel=0.01)
    counts = learned(out, {"tokens": tokens})
    assert max(count for name, count in counts.items() if name.startswith("code")) == 2
    table = next(panel for panel in out.panels if panel["kind"] == "table")
    assert table["note"] == "at their limit, the rest shared among the others: code, multilingual"
    whole = mix({"tokens": tokens}, groups=GROUPS, weights=LLAMA3, num_tokens=10**6)
    held = sum(row["tokens"] for row in rows.values())
    assert whole.metrics["mix_tokens"] == 4 * held and whole.metrics["missing_tokens"] == 10**6 - 4 * held
    assert set(learned(whole, {"tokens": tokens}).values()) == {4}


def test_without_weights_it_is_one_pass_over_what_there_is(mix: Any, tokens: Path) -> None:
    for by in ("source", "lang", "host", "section", "difficulty", "input"):
        out = mix({"tokens": tokens}, by=by)
        assert set(learned(out, {"tokens": tokens}).values()) == {1}
    assert list(by_domain(mix({"tokens": tokens}, by="difficulty"))) == ["easy", "hard"]
    more = by_domain(mix({"tokens": tokens}, upsample={"maths": 2.0}, num_tokens=3000))
    shares = {name: row["got"] / row["tokens"] for name, row in more.items()}
    assert shares["maths"] / shares["article"] == pytest.approx(2, rel=0.1)
    left_out = mix({"tokens": tokens}, upsample={"article": 0})
    assert {name[:-4] for name, count in learned(left_out, {"tokens": tokens}).items() if count == 0} == {"article"}


def test_a_star_is_what_no_group_names(mix: Any, tokens: Path) -> None:
    rows = by_domain(mix({"tokens": tokens}, groups={"new": ["maths"], "default": ["*"]}))
    corpus = Corpus({"tokens": tokens})
    of = dict(zip(corpus.ids, corpus.sizes.tolist(), strict=True))
    new = sum(size for one, size in of.items() if one.startswith("maths"))
    assert {name: row["tokens"] for name, row in rows.items()} == {"default": sum(of.values()) - new, "new": new}


def test_neither_shards_nor_inputs_nor_their_order_change_the_choice(mix: Any, make_tokens: MakeTokens) -> None:
    first, second = ALL[:30], ALL[30:]
    halves = {"a": make_tokens(first), "b": make_tokens(second[::-1], shards=3)}
    whole = {"a": make_tokens(ALL[::-1], shards=2)}
    settings = {"groups": GROUPS, "weights": LLAMA3, "num_tokens": 2500}
    expected = learned(mix(whole, **settings), whole)
    assert learned(mix(halves, **settings), halves) == expected
    swapped = {"a": halves["b"], "b": halves["a"]}
    out = mix(halves, **settings)
    assert learned(mix(swapped, **settings), swapped) == expected
    # A plan finds its documents again whatever the names, and beside tokens that it does not speak of.
    more = {**swapped, "c": make_tokens(pages("forum", 5, 9))}
    assert +learned(out, more) == +expected
    assert learned(mix(whole, seed=4, **settings), whole) != expected
    with pytest.raises(ConfigError, match="expected all tokens that the mix was made of, a is missing"):
        read_copies(out.path, Corpus({"b": halves["b"]}))


def test_a_mix_after_another_goes_on_with_what_was_seen_least(mix: Any, tokens: Path) -> None:
    half = mix({"tokens": tokens}, num_tokens=1500)
    rest = mix({"tokens": tokens, "after": half.path}, num_tokens=1500, weights=dict.fromkeys(by_domain(half), 1))
    before, after = (learned(one, {"tokens": tokens}) for one in (half, rest))
    for section in by_domain(half):
        both = {before[one] + after[one] for one in before if one.startswith(section)}
        assert max(both) - min(both) <= 1
    for row in by_domain(rest).values():
        assert row["epochs_before"] > 0 and row["epochs"] + row["epochs_before"] <= 4
    full = mix({"tokens": tokens, "after": [half.path, rest.path]}, max_epochs=1)
    assert max((before + after + learned(full, {"tokens": tokens})).values()) == max((before + after).values())


def test_a_search_gives_the_weights(mix: Any, tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    weights = {"article": 0.1, "maths": 0.2, "code": 0.0, "spanish": 0.7}
    write_json(tmp_path / "found/search.json", {"weights": weights})
    rows = by_domain(mix({"tokens": tokens, "weights": tmp_path / "found"}, num_tokens=900))
    assert {name: row["wanted"] for name, row in rows.items()} == {name: 900 * w for name, w in weights.items()}
    with pytest.raises(ConfigError, match="expected none beside the input weights"):
        mix({"tokens": tokens, "weights": tmp_path / "found"}, weights=weights)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weights": {"article": 1}}, r"one for every domain \(0 leaves it out\), came none for \['code', 'maths'"),
        ({"weights": {"artikle": 1}}, "no domain 'artikle' by section; did you mean \"article\""),
        ({"upsample": {"arcticle": 2}}, "no domain 'arcticle'"),
        ({"max_epochs": {"forum": 2}}, "max_epochs: no domain 'forum'"),
        ({"groups": {"g": ["forum"]}}, r"values that occur \(article, code, maths, spanish\), came forum"),
        ({"groups": {"g": ["code"], "h": ["code"]}}, "expected 'code' in one group, came in g too"),
        ({"by": "quality"}, r"expected a label of the tokens \(id, source, lang, url, difficulty\), came 'quality'"),
        ({"weights": dict.fromkeys(["article", "maths", "code", "spanish"], 0)}, "at least one above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(mix: Any, tokens: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mix({"tokens": tokens}, **config)


def test_repeated_tokens_are_refused_as_their_epochs_cannot_be_counted(mix: Any, make_tokens: MakeTokens) -> None:
    with pytest.raises(ConfigError, match="every document once in the tokens of a mix, came article-000 twice"):
        mix({"tokens": make_tokens(ALL, repeat={"article.warc": 2})})


def test_a_resumed_stage_writes_the_same(mix: Any, tokens: Path, tmp_path: Path) -> None:
    out = mix({"tokens": tokens}, num_tokens=700)
    before = out.records()
    (out.path / "copies.npy").unlink()
    again = StageOutput(out.path.parent, seed=3)
    run(MixConfig(by="section", num_tokens=700), Inputs({"tokens": tokens}), again)
    assert again.records() == before and again.metrics == out.metrics
    assert np.load(again.path / "copies.npy").dtype == np.uint16
