import pytest

from puna.base.config import validate
from puna.base.errors import ConfigError
from puna.curate.classify.rubric import Rubric, Verdict

RUBRIC = Rubric(domains=("maths", "computer science", "law"))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Quality: 4\nDomain: maths\nToxic: no", Verdict(4, "maths", False)),
        ("quality = 0; domain = Computer  Science; toxic = YES", Verdict(0, "computer science", True)),
        ("**Quality:** 5/5\n**Domain:** law\n**Toxic:** no.", Verdict(5, "law", False)),
        ('{"quality": 3, "domain": "law", "toxic": false}', Verdict(3, "law", False)),
        ("The quality is high. Quality: 2.0", Verdict(2, None, None)),
        ("Quality: 7\nDomain: law\nToxic: no", Verdict(None, "law", False)),
        ("Quality: 10", Verdict()),
        ("Quality: 2.5", Verdict()),
        ("Quality: -1", Verdict()),
        ("Domain: cooking", Verdict()),
        ("Domain: lawful", Verdict()),
        ("Toxic: not sure", Verdict()),
        ("", Verdict()),
    ],
)
def test_answers_are_read_or_refused(answer: str, verdict: Verdict) -> None:
    assert RUBRIC.parse(answer) == verdict


def test_the_prompt_states_scale_domains_and_the_beginning_of_the_document() -> None:
    prompt = Rubric(domains=("maths", "law"), max_chars=100).prompt("a" * 150)
    assert "0 to 5" in prompt
    assert "one of maths, law" in prompt
    assert "a" * 100 in prompt
    assert "a" * 101 not in prompt
    assert [f"\n{number}. " in prompt for number in range(1, 7)] == [True] * 5 + [False]


@pytest.mark.parametrize("domains", [["law"], ["law", "law"], ["law", "Maths"], ["law", "x"]])
def test_domains_that_no_answer_could_name_are_refused(domains: list[str]) -> None:
    with pytest.raises(ConfigError, match="rubric.domains: expected"):
        validate(Rubric, {"domains": domains}, "rubric")
