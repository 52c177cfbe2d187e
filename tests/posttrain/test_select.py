"""Rejection sampling by hand: which samples are good, which are kept, and what becomes a preference."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.posttrain.dialogs import read_dialogs
from puna.posttrain.preferences import read_preferences
from puna.posttrain.prompts import read_prompts
from puna.posttrain.select import SelectConfig, divide, run, worst
from tests.posttrain.conftest import asked


def _sample(text: str, verdict: str | None = None, score: float | None = None, finish: str = "stop") -> dict[str, Any]:
    return {"text": text, "tokens": [1], "finish": finish, "verdict": verdict, "reason": None, "score": score}


def _row(name: str, *samples: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "messages": asked(0), "task": "t", "samples": list(samples)}


def _run(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> tuple[StageOutput, list[Any], list[Any]]:
    write_jsonl(tmp_path / "judged.jsonl", rows)
    out = StageOutput(tmp_path / f"out-{len(list(tmp_path.iterdir()))}")
    run(SelectConfig(**settings), Inputs({"judged": [tmp_path]}), out)
    return out, list(read_jsonl(out.path / "dialogs.jsonl")), list(read_jsonl(out.path / "preferences.jsonl"))


def _texts(dialogs: list[Any]) -> list[tuple[str, str]]:
    return [(row["id"], row["messages"][-1]["content"]) for row in dialogs]


@pytest.mark.parametrize(
    "sample, is_good",
    [
        (_sample("a", "correct"), True),
        (_sample("a", "correct", -9.0), True),  # the verifier decides, not the score
        (_sample("a", "wrong", 9.0), False),
        (_sample("a", "error", 9.0), False),
        (_sample("a", "correct", finish="length"), False),
        (_sample(" \n", "correct"), False),
        (_sample("a", None, 0.5), True),
        (_sample("a", None, 0.49), False),
        (_sample("a", None, 9.0, finish="length"), False),
        (_sample("a"), False),  # neither a verdict nor a score
    ],
)
def test_what_is_good(sample: dict[str, Any], is_good: bool) -> None:
    good, bad = divide(_row("a", sample), SelectConfig(min_score=0.5))
    assert (good, bad) == (([sample], []) if is_good else ([], [sample]))


def test_best_first_by_score_and_in_order_without_one() -> None:
    scored = [_sample(str(i), "correct" if i % 2 else "wrong", score) for i, score in enumerate((0.1, -2, 3, 4, -5, 4))]
    good, bad = divide(_row("a", *scored), SelectConfig())
    assert [sample["text"] for sample in good] == ["3", "5", "1"]
    assert [sample["text"] for sample in bad] == ["2", "0", "4"]
    plain = [_sample(str(i), "correct") for i in range(5)]
    assert divide(_row("a", *plain), SelectConfig())[0] == plain


def test_a_round_by_hand(tmp_path: Path) -> None:
    rows = [
        _row("none", _sample("a", "wrong", 1.0), _sample("b", "error", 2.0)),
        _row("some", _sample("x", "wrong", 2.0), _sample("good", "correct", 0.0), _sample("best ", "correct", 1.0),
             _sample("best", "correct", 0.5), _sample("worst", "wrong", -3.0)),
        _row("all", _sample("p", "correct", 0.0), _sample("q", "correct", 1.0)),
        _row("open", _sample("nice", None, 0.7), _sample("poor", None, -0.7)),
    ]  # fmt: skip
    out, dialogs, preferences = _run(tmp_path, rows)
    assert _texts(dialogs) == [("some", "best"), ("all", "q"), ("open", "nice")]
    assert [(row["id"], row["chosen"], row["rejected"]) for row in preferences] == [
        ("some", "best", "worst"), ("open", "nice", "poor"),
    ]  # fmt: skip
    assert dialogs[0] == {
        "id": "some", "messages": [*asked(0), {"role": "assistant", "content": "best"}],
        "source": "rejection-sampling", "task": "t", "verdict": "correct", "score": 1.0,
    }  # fmt: skip
    counts = {"num_prompts": 4, "num_dialogs": 3, "num_preferences": 2, "none_good": 1, "too_easy": 0, "over_limit": 0,
                  "num_unsolved": 3}  # fmt: skip
    assert out.metrics == counts
    assert read_dialogs([out.path / "dialogs.jsonl"])[0].messages == dialogs[0]["messages"]
    assert read_preferences([out.path / "preferences.jsonl"])[0].answers == ("best", "worst")
    # Several of a prompt, each text once.
    assert _texts(_run(tmp_path, rows, per_prompt=2)[1]) == [
        ("some", "best"), ("some", "good"), ("all", "q"), ("all", "p"), ("open", "nice"),
    ]  # fmt: skip
    # 2 of 2 are more than 0.6, 3 of 5 are not.
    out, dialogs, _ = _run(tmp_path, rows, too_easy=0.6)
    assert _texts(dialogs) == [("some", "best"), ("open", "nice")] and out.metrics["too_easy"] == 1


def test_a_null_score_is_no_score() -> None:
    """It makes nothing good, and ranks after every score instead of among them as 0."""
    samples = [_sample("none", "correct"), _sample("low", "correct", -3.0), _sample("high", "correct", 3.0)]
    assert [one["text"] for one in divide(_row("a", *samples), SelectConfig())[0]] == ["high", "low", "none"]
    assert divide(_row("a", _sample("open", None, None)), SelectConfig(min_score=-9))[0] == []


@pytest.mark.parametrize(
    "bad, text",
    [
        ([_sample("a", "wrong", 1.0), _sample("b", "wrong", 0.0), _sample("c", "wrong", -1.0, "length")], "b"),
        ([_sample("a", "wrong", 1.0), _sample("  ", "error", -5.0)], "a"),
        ([_sample("a", "wrong", 1.0), _sample("b", "wrong", None)], "a"),  # the worst of those with a score
        ([_sample("a", "wrong"), _sample("b", "error")], "b"),  # no scores: the last
        ([_sample("a", "wrong", 1.0, "length"), _sample("b", "wrong", 0.0, "length")], "b"),
        ([_sample(" ", "error", 1.0), _sample("", "error", 0.0, "length")], None),
        ([_sample("a", "wrong", 1.0), _sample("good ", "correct", -1.0, "length")], "a"),
        ([], None),
    ],
)
def test_what_is_rejected(bad: list[dict[str, Any]], text: str | None, tmp_path: Path) -> None:
    good = _sample("good", "correct", 9.0)
    rejected = worst(divide(_row("a", *bad), SelectConfig())[1], good)
    assert (rejected["text"] if rejected else None) == text
    preferences = _run(tmp_path, [_row("a", good, *bad)])[2]
    assert [row["rejected"] for row in preferences] == ([text] if text else [])


def test_a_preference_has_two_texts(tmp_path: Path) -> None:
    """The same text once right and once cut off is no preference."""
    rows = [_row("a", _sample("yes", "correct"), _sample("yes ", "correct", finish="length"))]
    assert _run(tmp_path, rows)[2] == []


def test_nothing_to_select_says_why(tmp_path: Path) -> None:
    rows = [_row("a", _sample("a", "wrong")), _row("b", _sample("b", "correct")), _row("c", _sample("c", "wrong"))]
    with pytest.raises(DataError, match="came 2 without one and 1 too easy; take more samples"):
        _run(tmp_path, rows, too_easy=0.5)
    with pytest.raises(DataError, match="expected judged samples in .*, found none"):
        _run(tmp_path, [])


def test_at_most_so_many_prompts_of_a_task_and_only_those_with_a_good_sample_count(tmp_path: Path) -> None:
    right, wrong = _sample("right", "correct"), _sample("wrong", "wrong")
    tasks = {
        "a": ("t", wrong),
        "b": ("t", right),
        "c": ("u", right),
        "d": ("t", right),
        "e": ("t", right),
        "f": ("u", right),
    }
    rows = [{**_row(name, sample), "task": task} for name, (task, sample) in tasks.items()]
    out, dialogs, _ = _run(tmp_path, rows, task_limits={"t": 2})
    assert [row["id"] for row in dialogs] == ["b", "c", "d", "f"]
    assert (out.metrics["over_limit"], out.metrics["none_good"]) == (1, 1)


def test_a_limit_of_a_task_that_no_prompt_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected tasks among t, came q"):
        _run(tmp_path, [_row("a", _sample("right", "correct"))], task_limits={"q": 2})


def test_prompts_left_to_learn_are_those_with_a_sample_that_is_not_good(tmp_path: Path) -> None:
    rows = [
        _row("solved", _sample("a", "correct"), _sample("b", "correct")),
        _row("sometimes", _sample("a", "correct"), _sample("b", "wrong")),
        _row("never", _sample("a", "wrong"), _sample("b", "wrong")),
        _row("cut-off", _sample("a", "correct"), _sample("b", "correct", finish="length")),
    ]
    out, _, _ = _run(tmp_path, rows, task_limits={"t": 1})
    left = read_prompts([out.path / "prompts.jsonl"])
    assert [prompt.id for prompt in left] == ["sometimes", "never", "cut-off"]
    assert out.metrics["num_unsolved"] == 3


def test_where_every_sample_is_good_all_prompts_stay(tmp_path: Path) -> None:
    rows = [_row(name, _sample("a", "correct")) for name in ("a", "b")]
    out, _, _ = _run(tmp_path, rows)
    assert [prompt.id for prompt in read_prompts([out.path / "prompts.jsonl"])] == ["a", "b"]
