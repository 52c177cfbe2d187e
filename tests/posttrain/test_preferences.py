"""Every form of preference becomes the same judgement; what teaches nothing is counted by its reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError
from puna.posttrain.preferences import REASONS, Preference, encode_preferences, preference_of, read_preferences
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog

ASKED = [{"role": "user", "content": "Say green."}]
LONGER = [*ASKED, {"role": "assistant", "content": "green"}, {"role": "user", "content": "Again!"}]


def _message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Say green.", "chosen": "green", "rejected": "red "},
        {"prompt": ASKED, "chosen": "green", "rejected": "red", "edited": None},
        {"prompt": ASKED, "chosen": _message("assistant", " green"), "rejected": _message("assistant", "red")},
        {
            "prompt": ASKED,
            "chosen": [*ASKED, _message("assistant", "green")],
            "rejected": [_message("assistant", "red")],
        },
        {
            "conversations": [{"from": "human", "value": "Say green."}],
            "chosen": {"from": "gpt", "value": "green"},
            "rejected": {"from": "gpt", "value": "red"},
        },
        {
            "chosen": "\n\nHuman: Say green.\n\nAssistant: green",
            "rejected": "\n\nHuman: Say green.\n\nAssistant: red",
        },
        {"prompt": ASKED, "edited": "green ", "chosen": "green", "rejected": "red"},  # sent off without an edit
        {"prompt": ASKED, "edited": "", "chosen": "green", "rejected": "red"},
    ],
)
def test_forms(row: dict[str, Any]) -> None:
    assert preference_of(row) == Preference(ASKED, ("green", "red"), "", row)


def test_edited_is_best_and_the_strength_is_kept() -> None:
    row = {"prompt": "Say green.", "chosen": "b", "rejected": "c", "edited": "a", "strength": "better", "error": True}
    assert preference_of(row) == Preference(ASKED, ("a", "b", "c"), "better", row)


def test_dialogues_of_several_turns() -> None:
    """Only "Human:" and "Assistant:" at the begin of a paragraph begin a turn."""
    begin = "\n\nHuman: Say green.\n\nAssistant: green\n\nHuman: Again!\n\nAssistant:"
    row = {"chosen": f"{begin} A Human: green.\nHuman: so\n\ngreen", "rejected": f"{begin} red"}
    expected = ("A Human: green.\nHuman: so\n\ngreen", "red")
    assert preference_of(row) == Preference(LONGER, expected, "", row)
    sooner = {"chosen": begin + " x", "rejected": "\n\nHuman: Say blue.\n\nAssistant: x"}
    assert preference_of(sooner).prompt == []


def _preferences(*rows: dict[str, Any]) -> list[Preference]:
    return [preference_of({"prompt": "Say green.", **row}) for row in rows]


def test_what_teaches_nothing_is_counted_by_its_reason(tokenizer: Tokenizer) -> None:
    rows = _preferences(
        {"chosen": "green", "rejected": "red", "strength": "better"},
        {"chosen": "green", "rejected": "red"},  # states no strength: taken
        {"chosen": "green", "rejected": "red", "edited": "blue", "strength": "better"},
        {"chosen": "green", "rejected": "red", "strength": "slightly better"},
        {"chosen": "green", "rejected": " green "},
        {"chosen": "green", "rejected": "green"},
        {"chosen": "green", "rejected": "red", "edited": "red"},
        {"chosen": " ", "rejected": "red"},
        {"chosen": "green", "rejected": "red" * 100},
    )
    hh = "\n\nHuman: {}\n\nAssistant: yes"
    rows.append(preference_of({"chosen": hh.format("a"), "rejected": hh.format("b")}))
    kept, counts = encode_preferences(rows, tokenizer, 64, ("better",))
    assert [len(one.answers) for one in kept] == [2, 2, 3]
    expected = {"same": 3, "empty": 1, "too_long": 1, "weak": 1, "diverged": 1}
    assert counts == {"num_preferences": 3, **{f"left_out_{name}": expected[name] for name in REASONS}}
    assert encode_preferences(rows, tokenizer, 64)[1]["left_out_weak"] == 0


def test_ids_are_those_of_the_dialog(tokenizer: Tokenizer) -> None:
    """Prompt and answer together are the dialog with the answer in it, whatever was taken apart."""
    prompt = [_message("system", "Be brief."), *LONGER]
    [one], _ = encode_preferences([preference_of({"prompt": prompt, "chosen": "the", "rejected": "an"})], tokenizer, 90)
    for answer, text in zip(one.answers, ("the", "an"), strict=True):
        assert [*one.prompt, *answer] == encode_dialog(tokenizer, [*prompt, _message("assistant", text)])[0]


def test_a_row_fits_up_to_its_last_token(tokenizer: Tokenizer) -> None:
    rows = _preferences({"chosen": "green", "rejected": "red"})
    [one], _ = encode_preferences(rows, tokenizer, 1000)
    size = len(one.prompt) + max(map(len, one.answers))
    assert encode_preferences(rows, tokenizer, size)[1]["num_preferences"] == 1
    with pytest.raises(DataError, match=rf"in at most {size - 1} tokens, came 1 \(too_long 1\)"):
        encode_preferences(rows, tokenizer, size - 1)


def test_nothing_left_is_an_error_that_says_why(tokenizer: Tokenizer) -> None:
    rows = _preferences(
        {"chosen": "a", "rejected": "a"}, {"chosen": "", "rejected": "a"}, {"chosen": "b", "rejected": "b"}
    )
    with pytest.raises(DataError, match=r"came 3 \(same 2, empty 1\)"):
        encode_preferences(rows, tokenizer, 64)
    with pytest.raises(DataError, match=r"came 0 \(none\)"):
        encode_preferences([], tokenizer, 64)


@pytest.mark.parametrize(
    "row, message",
    [
        ({"text": "x"}, "the keys text; known forms have chosen and rejected"),
        ({"prompt": "x", "chosen": "a", "rejected": 5}, "an answer that is int, not text"),
        ({"prompt": "x", "chosen": None, "rejected": "a"}, "an answer that is NoneType, not text"),
        (
            {"prompt": [*ASKED, _message("assistant", "x")], "chosen": "a", "rejected": "b"},
            "does not end with the user",
        ),
        ({"chosen": "no dialogue", "rejected": "none"}, "not dialogues"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "rejected": "\n\nHuman: a\n\nAssistant: b"},
            "dialogues",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = tmp_path / "p.jsonl"
    good = {"prompt": "x", "chosen": "a", "rejected": "b"}
    path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"p\.jsonl: row 2: expected a preference, came .*{message}"):
        read_preferences([path])


def test_real_preferences(shared_data: Path) -> None:
    read = read_preferences([shared_data / "pref-hh-rlhf/harmless-base.jsonl.gz"])
    assert len(read) == 1600
    assert Counter(bool(one.prompt) for one in read)[False] == 1  # one pair of dialogues diverges sooner
    assert all("\n\nHuman:" not in text for one in read for text in one.answers if one.prompt)
    for name in ("dpo_en", "dpo_zh"):
        read = read_preferences([shared_data / f"pref-demo/{name}.jsonl.gz"])
        assert len(read) == 200 and all(one.prompt[-1]["role"] == "user" for one in read)
