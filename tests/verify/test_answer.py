"""Answers read from texts by hand, the laws of exact comparison, and the real answers of GSM8K."""

import gzip
import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import InputError
from puna.verify import check_choice, check_number, extract_choice, extract_number

BIRDS = ("an owl", "the heron", "a grey heron", "a crow")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", "42"),
        ("3 + 4 = 7. The answer is 7. Then 9 came.", "7"),
        ("The answer is 5. No, the answer is 6.", "6"),
        ("The answer is 6 * 7 = 42.", "42"),
        ("The final answer is: $1,234.50", "1234.50"),
        ("answer: -7", "-7"),
        ("The answer is\n12", "12"),
        ("The answer is unknown. We count 5 and 8.", "8"),
        ("5 eggs * 2 = 10\n#### 10\n", "10"),
        ("#### -1,000", "-1000"),
        ("The answer is 5.\n#### 6", "6"),
        ("#### 6\nThe answer is 5.", "5"),
        (r"so \boxed{\frac{3}{4}} of 12", "3/4"),
        (r"so $\boxed{-\dfrac{1}{2}}$", "-1/2"),
        (r"\boxed{1{,}024}", "1024"),
        (r"\boxed{7", "7"),
        ("it costs 1 1/2 dollars", "3/2"),
        ("he has 5-3 left", "3"),
        ("he has 5 - 3", "3"),
        ("it fell to -3", "-3"),
        ("it fell by \u22123 degrees", "-3"),
        ("a debt of -$5", "-5"),
        ("the list 1,2,3", "3"),
        ("half: .5", "0.5"),
        ("1e3", "1e3"),
        ("\u09ea\u09e8", "42"),
        ("no digits here", None),
        ("", None),
    ],
)
def test_extract_number(text: str, number: str | None) -> None:
    assert extract_number(text) == number


@pytest.mark.parametrize(
    ("text", "answer", "verdict"),
    [
        ("The answer is 0.5.", "1/2", "correct"),
        ("The answer is .50", "0.5", "correct"),
        ("The answer is 1,000.", "1000.0", "correct"),
        ("The answer is 0.30000001.", "0.3", "wrong"),
        ("The answer is 3/0.", "3", "error"),
        ("I do not know.", "3", "error"),
        ("The answer is " + "9" * 5000 + ".", "3", "error"),
        ("The answer is 12.", "1", "wrong"),
    ],
)
def test_check_number(text: str, answer: str, verdict: str) -> None:
    assert check_number(text, answer).verdict == verdict


@given(st.fractions(), st.sampled_from(["The answer is {}.", "#### {}", r"\boxed{{{}}}", "so it is {}"]))
def test_every_fraction_survives_its_text(value: Fraction, form: str) -> None:
    assert check_number(form.format(value), str(value)).verdict == "correct"
    assert check_number(form.format(value + 1), str(value)).verdict == "wrong"


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_separators_and_trailing_zeros_change_nothing(value: int, zeros: int) -> None:
    text = f"{value:,}" + ("." + "0" * zeros if zeros else "")
    assert check_number(f"The answer is {text}.", str(value)).verdict == "correct"


@given(st.text(max_size=80))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert check_number(text, "7").verdict in ("correct", "wrong", "error")
    assert check_choice(text, BIRDS, 1).verdict in ("correct", "wrong", "error")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("The answer is B.", 1),
        ("Herons fish. The answer is (c)", 2),
        ("The answer is **D**", 3),
        ("The answer is A. No: the answer is C.", 2),
        ("The answer is B because herons fish.", 1),
        (r"\boxed{D}", 3),
        ("b", 1),
        ("B) the heron", 1),
        ("B the heron", 1),
        ("(D)", 3),
        ("The answer is a crow.", 3),
        ("The answer is A grey heron.", 2),
        ("It must have been an owl, I think.", 0),
        ("the grey heron", 2),
        ("An owl or a crow.", None),
        ("Options: (A) (B) (C) (D)", None),
        ("Only (C) fits.", 2),
        ("The answer is E.", None),
        ("A dog barked.", None),
        ("", None),
    ],
)
def test_extract_choice(text: str, position: int | None) -> None:
    assert extract_choice(text, BIRDS) == position


def test_check_choice_names_both_letters() -> None:
    assert check_choice("The answer is B.", BIRDS, 3).reason == "B is not D"
    assert check_choice("The answer is B.", BIRDS, 1).correct
    assert check_choice("Who knows?", BIRDS, 1).verdict == "error"


@given(
    st.integers(0, 3), st.sampled_from(["The answer is {}.", "{}", "({})", "Answer: {}", "It flew. The answer is {}"])
)
def test_every_letter_is_read_in_every_form(position: int, form: str) -> None:
    assert extract_choice(form.format("ABCD"[position]), BIRDS) == position


def test_bad_reference_answers_are_refused() -> None:
    with pytest.raises(InputError, match="must hold a number"):
        check_number("7", "seven")
    with pytest.raises(InputError, match="position"):
        check_choice("A", BIRDS, 4)
    with pytest.raises(InputError, match="2 to 26"):
        extract_choice("A", ["one"])


def test_every_gsm8k_solution_is_judged_right(shared_data: Path) -> None:
    """The working of a GSM8K solution, and its `####` line, give the integer that Python reads after `####`."""
    folder = shared_data / "eval-gsm8k"
    rows = [json.loads(line) for line in (folder / "test-first-half.jsonl").read_text().splitlines()]
    rows += [json.loads(line) for line in gzip.decompress((folder / "train.jsonl.gz").read_bytes()).splitlines()]
    assert len(rows) == 660 + 7473
    for row in rows:
        gold = str(int(row["answer"].split("####")[1].replace(",", "")))
        assert extract_number(row["answer"]) == gold or check_number(row["answer"], gold).correct
        assert check_number(f"The answer is ${gold}.", gold).correct
