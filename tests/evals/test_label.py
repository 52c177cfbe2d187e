"""A model as labeller: an oracle whose answers are known, and a small model that says what it would say alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from puna.base.output import Inputs, StageOutput
from puna.curate.classify.labels import Label, read_labels, write_labels
from puna.curate.classify.rubric import Rubric, Verdict
from puna.engine import Engine, SamplingParams
from puna.evals import label as stage
from puna.evals.candidate import Candidate
from puna.evals.label import LabelModelConfig, labeller
from puna.model import Llama, LlamaConfig
from puna.tokenizer import Tokenizer
from tests.curate.classify.artifacts import KINDS, make_documents, write_artifact

RUBRIC = Rubric(domains=("maths", "law", "advertising", "everyday"))
DOCUMENTS = make_documents(24)


def _say(prompt: str) -> str:
    """The truth, but of abuse nothing that could be read."""
    own = {kind: sum(prompt.count(f" {word} ") for word in words.split()) for kind, (words, *_) in KINDS.items()}
    kind = max(own, key=lambda name: own[name])
    _, quality, domain, toxic = KINDS[kind]
    return "I cannot say." if toxic else f"Quality: {quality}\nDomain: {domain}\nToxic: no"


def test_written_answers_become_labels(oracle: Callable[..., Candidate], tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    candidate = oracle("chat", say=_say)
    monkeypatch.setattr(stage, "load_model", lambda folder: None)
    monkeypatch.setattr(stage, "Engine", lambda *_: candidate.engine)
    monkeypatch.setattr(stage.Tokenizer, "load", classmethod(lambda cls, folder: candidate.tokenizer))
    write_artifact(tmp_path / "curate", DOCUMENTS, heldout=0, rejects=0)
    write_labels(
        tmp_path / "true.jsonl", [Label(one.id, Verdict(*KINDS[one.source][1:]), "truth") for one in DOCUMENTS]
    )
    out = StageOutput(tmp_path / "out")
    inputs = Inputs({"documents": tmp_path / "curate", "model": tmp_path, "beside": tmp_path / "true.jsonl"})
    stage.run(LabelModelConfig(rubric=RUBRIC, max_batch=5), inputs, out)
    labels = {one.id: one for one in read_labels(out.path)}
    for document in DOCUMENTS:
        _, quality, domain, toxic = KINDS[document.source]
        assert labels[document.id].said == (Verdict() if toxic else Verdict(quality, domain, toxic))
    assert out.metrics["quality_unreadable"] == 0.25
    assert out.metrics["quality_kappa"] == out.metrics["domain_kappa"] == 1
    assert "Agreement of model and truth" in [panel["title"] for panel in out.panels]
    in_order = sorted(DOCUMENTS, key=lambda one: one.id)
    prompts = candidate.engine.prompts  # type: ignore[attr-defined]
    assert all(one.text in prompt for one, prompt in zip(in_order, prompts, strict=True))


def test_the_likeliest_answer_is_chosen(oracle: Callable[..., Candidate]) -> None:
    likely = {"Quality: 3": -1.0, "Domain: law": -1.0, "Toxic: yes": -1.0}
    candidate = oracle("base", likely=lambda prompt, text: likely.get(text, -50.0) - len(prompt))
    ask = labeller(candidate, LabelModelConfig(form="choose", style="base", rubric=RUBRIC))
    assert [RUBRIC.parse(answer) for answer in ask(["one", "another"])] == [Verdict(3, "law", True)] * 2


def test_what_does_not_fit_has_no_answer(oracle: Callable[..., Candidate]) -> None:
    candidate = oracle("base", say=lambda prompt: "Quality: 2", context=100)
    ask = labeller(candidate, LabelModelConfig(style="base", rubric=RUBRIC))
    assert list(ask(["short", "x" * 200, "brief"])) == ["Quality: 2", "", "Quality: 2"]


@pytest.mark.parametrize("form", ["write", "choose"])
def test_a_model_of_ours_answers_together_as_alone(tokenizer: Tokenizer, form: str) -> None:
    config = LlamaConfig(dim=16, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=tokenizer.vocab_size)
    candidate = Candidate(Engine(Llama(config, seed=1), tokenizer, 8), tokenizer, "chat")
    settings = LabelModelConfig.model_validate({"form": form, "rubric": RUBRIC, "max_tokens": 6})
    prompts: Sequence[str] = [RUBRIC.prompt(document.text[:40]) for document in DOCUMENTS[:3]]
    together = list(labeller(candidate, settings)(prompts))
    assert together == [answer for prompt in prompts for answer in labeller(candidate, settings)([prompt])]
    if form == "write":
        params = SamplingParams(max_tokens=6, temperature=0.0)
        ids = [candidate.encode_dialog(prompt) for prompt in prompts]
        assert together == [candidate.engine.generate([one], params)[0].text for one in ids]
    else:
        assert all(None not in RUBRIC.parse(answer) for answer in together)
