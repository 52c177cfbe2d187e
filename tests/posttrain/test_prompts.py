"""Every form of prompt, what is known of its answer, and what is told before anything is sampled."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError
from puna.posttrain.prompts import Prompt, encode_prompts, prompt_of, read_prompts
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog

ASKED = [{"role": "user", "content": "What is 3 + 4?"}]
SAID = [*ASKED, {"role": "assistant", "content": "7"}]


@pytest.mark.parametrize(
    "row, expected",
    [
        ({"messages": ASKED}, Prompt("f-1", ASKED)),
        ({"id": "a", "messages": ASKED, "task": "t", "kind": "number", "answer": 7},
         Prompt("a", ASKED, "t", "number", 7)),
        ({"id": "a", "messages": ASKED, "kind": "choice", "answer": 1, "choices": ["six", "seven"]},
         Prompt("a", ASKED, "", "choice", 1, ("six", "seven"))),
        ({"question": "What is 3 + 4?", "answer": "3 + 4 = <<3+4=7>>7\n#### 1,007"},
         Prompt("f-1", ASKED, "gsm8k", "number", "1007")),
        ({"messages": SAID}, Prompt("f-1", ASKED)),
        ({"messages": [*SAID, *SAID]}, Prompt("f-1", [*SAID, *ASKED])),
        ({"instruction": "What is 3 + 4?", "output": "7"}, Prompt("f-1", ASKED)),
        ({"id": "p", "prompt": ASKED, "chosen": "7", "rejected": "8", "kind": "wrong-step"}, Prompt("p", ASKED)),
    ],
)  # fmt: skip
def test_forms(row: dict[str, Any], expected: Prompt) -> None:
    assert prompt_of(row, "f-1") == expected
    again = prompt_of(json.loads(json.dumps(expected.row())), "other")
    assert again == expected


def test_verdicts() -> None:
    number, choice = Prompt("a", ASKED, "", "number", 7), Prompt("b", ASKED, "", "choice", 1, ("six", "seven"))
    assert number.verify("The answer is 7.").correct and not number.verify("8").correct
    assert choice.verify("It is seven.").correct and choice.verify("A").verdict == "wrong"
    assert number.verify("").verdict == choice.verify("").verdict == "error"
    assert not Prompt("c", ASKED).verifiable
    with pytest.raises(ValueError, match="prompt c: nothing is known"):
        Prompt("c", ASKED).verify("7")


@pytest.mark.parametrize(
    "row, message",
    [
        ({"text": "x"}, "the keys text; known forms"),
        ({"messages": ASKED, "kind": "essay"}, "the kind 'essay'; known"),
        ({"messages": ASKED, "kind": "number", "answer": "seven"}, "must hold a number .* got 'seven'"),
        ({"messages": ASKED, "kind": "number"}, "answer"),
        ({"messages": ASKED, "kind": "choice", "answer": 2, "choices": ["a", "b"]}, "position in the 2 choices"),
        ({"question": "How many?", "answer": "#### none"}, "must hold a number"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"messages": ASKED}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"f\.jsonl: row 2: expected a prompt, came .*{message}"):
        read_prompts([path])


def test_an_id_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(json.dumps({"id": "a", "messages": ASKED}) + "\n")
    assert [one.id for one in read_prompts([tmp_path / "f.jsonl"])] == ["a"]
    with pytest.raises(DataError, match="an id of its own"):
        read_prompts([tmp_path / "f.jsonl"] * 2)


def test_prompts_that_do_not_fit_are_counted(tokenizer: Tokenizer) -> None:
    long = Prompt("b", [{"role": "user", "content": "why? " * 30}])
    ids = encode_dialog(tokenizer, ASKED, generation_prompt=True)[0]
    assert encode_prompts([Prompt("a", ASKED), long], tokenizer, len(ids)) == ([Prompt("a", ASKED)], [ids], 1)
    with pytest.raises(DataError, match=rf"at most {len(ids) - 1} tokens, came 2 \(2 too long\)"):
        encode_prompts([Prompt("a", ASKED), long], tokenizer, len(ids) - 1)


def test_real_prompts(shared_data: Path) -> None:
    hh = read_prompts([shared_data / "pref-hh-rlhf/harmless-base.jsonl.gz"])
    assert len(hh) == 1599 and not any(one.verifiable for one in hh)
    assert all(one.messages[-1]["role"] == "user" for one in hh)
