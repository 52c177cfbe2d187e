"""Tasks with a model whose answers are known: what is asked, what is counted. MMLU and GSM8K from their real files."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest

from puna.base.errors import DataError
from puna.evals.candidate import Candidate
from puna.evals.tasks import bits_per_byte, exam, gsm8k, mmlu
from puna.evals.tasks.spec import TaskConfig

Oracles = Callable[..., Candidate]
BIRDS = {
    "id": "b1", "task": "t", "kind": "choice", "subject": "birds", "question": "Which bird fishes?",
    "choices": ["owl", "heron of the long river", "hen", "crow"], "answer": 1,
}  # fmt: skip
SUM = {"id": "n1", "task": "t", "kind": "number", "subject": "2 steps", "question": "What is 40 + 2?", "answer": "42"}


@pytest.fixture
def exam_file(tmp_path: Path) -> Path:
    path = tmp_path / "village.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (BIRDS, SUM)))
    return path


def exam_config(**settings) -> TaskConfig:  # type: ignore[no-untyped-def]
    return TaskConfig(name="village", kind="exam", input="exams", **settings)


def test_base_exam_asks_as_the_crawl_does(oracle: Oracles, exam_file: Path) -> None:
    """A long right option: best per byte, worst as a sum."""
    logprobs = {" owl": -4.0, " heron of the long river": -9.0, " hen": -5.0, " crow": -6.0}
    candidate = oracle(
        "base",
        likely=lambda prompt, text: logprobs[text],
        say=lambda prompt: " 40 + 2 = 42. The answer is 42.\nQuestion: The answer is 7.",
    )
    result = exam.evaluate(exam_config(), [exam_file], candidate)
    assert [(r.verdict, r.output) for r in result.items] == [
        ("correct", "heron of the long river"),
        ("correct", " 40 + 2 = 42. The answer is 42."),
    ]
    begin = "<|begin_of_text|>Question: "
    assert set(candidate.engine.prompts) == {  # type: ignore[attr-defined]
        f"{begin}Which bird fishes?\nAnswer:",
        f"{begin}What is 40 + 2?\nAnswer:",
    }
    assert json.loads(result.items[0].details)["picked"] == {"bytes": 1, "tokens": 1, "none": 0}
    assert result.scores[0].value == 1
    assert result.scores[0].n == 2
    by_sum = exam.evaluate(exam_config(normalise="none"), [exam_file], candidate)
    assert [r.verdict for r in by_sum.items] == ["wrong", "correct"]


def test_base_exam_may_be_written_with_the_options_before_it(oracle: Oracles, exam_file: Path) -> None:
    candidate = oracle("base", say=lambda prompt: " owl. It is wrong. The answer is owl.\nQuestion: The answer is hen.")
    result = exam.evaluate(exam_config(written=True), [exam_file], candidate)
    assert [r.verdict for r in result.items] == ["wrong", "error"]
    asked = "Which bird fishes?\nThe choices are owl, heron of the long river, hen, crow.\nAnswer:"
    assert f"<|begin_of_text|>Question: {asked}" in candidate.engine.prompts  # type: ignore[attr-defined]
    assert result.scores[0].settings["choice_by"] == "words"


def test_an_exam_may_have_another_name_than_its_task(oracle: Oracles, tmp_path: Path) -> None:
    for name, answer in (("first", "42"), ("second", "43")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**SUM, "answer": answer}) + "\n")
    candidate = oracle("base", say=lambda prompt: " The answer is 43.")
    assert exam.evaluate(exam_config(file="second"), [tmp_path], candidate).scores[0].value == 1
    assert exam.evaluate(exam_config(file="first"), [tmp_path], candidate).scores[0].value == 0


def test_chat_exam_reads_letters(oracle: Oracles, exam_file: Path) -> None:
    def say(prompt: str) -> str:
        if "fishes" in prompt:
            assert prompt.endswith(
                "Which bird fishes?\nThe choices are owl, heron of the long river, hen, crow.<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            )
            return "Herons fish.\nThe answer is B."
        return "I cannot tell."

    result = exam.evaluate(exam_config(), [exam_file], oracle("chat", say=say))
    assert [r.verdict for r in result.items] == ["correct", "error"]
    assert result.scores[0].value == 0.5
    assert result.items[0].prompt == "Which bird fishes?\nThe choices are owl, heron of the long river, hen, crow."


def test_a_prompt_longer_than_the_context_is_an_error_not_a_crash(oracle: Oracles, exam_file: Path) -> None:
    for style in ("base", "chat"):
        result = exam.evaluate(exam_config(), [exam_file], oracle(style, context=12))
        assert [r.verdict for r in result.items] == ["error", "error"]
        assert "does not fit" in result.items[0].reason


def test_settings_that_a_kind_does_not_use_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="no shots for a task of the kind exam"):
        exam_config(shots=3)
    with pytest.raises(pydantic.ValidationError, match="no normalise"):
        TaskConfig(name="m", kind="mmlu", input="data", normalise="none")


# --- MMLU -----------------------------------------------------------------------------------------------------------


def test_mmlu_five_shots_by_letter(oracle: Oracles, shared_data: Path) -> None:
    """An oracle that knows one subject's key from the CSV itself has it all right, and C's share of the others."""
    archive = shared_data / "eval-mmlu" / "mmlu.tar.gz"
    with tarfile.open(archive) as tar:
        member = tar.extractfile("test/high_school_physics_test.csv")
        assert member is not None
        rows = list(csv.reader(io.TextIOWrapper(member, "utf-8", newline="")))
    key = {row[0]: row[5] for row in rows}

    def likely(prompt: str, letter: str) -> float:
        question = prompt.split("\n\n")[-1].rsplit("\nA. ", 1)[0]
        return 0.0 if letter == " " + key.get(question, "C") else -1.0

    config = TaskConfig(name="mmlu", kind="mmlu", input="data", limit=400, shots=5)
    candidate = oracle("base", likely=likely)
    result = mmlu.evaluate(config, [archive], candidate)
    physics = [r for r in result.items if r.subject == "high_school_physics"]
    others = [r for r in result.items if r.subject != "high_school_physics"]
    assert len(result.items) == 400
    assert physics and all(r.verdict == "correct" for r in physics)
    dev, test = mmlu.read_mmlu([archive])
    answers = {item.id: item.answer for several in test.values() for item in several}
    assert [r.verdict == "correct" for r in others] == [answers[r.id] == 2 for r in others]
    prompt = physics[0].prompt
    assert prompt.startswith(
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
    )
    shots = [block.split("\nAnswer: ") for block in prompt.split("\n\n")[:-1] if "\nAnswer: " in block]
    assert [letter for _, letter in shots] == ["ABCD"[int(item.answer)] for item in dev["high_school_physics"]]
    assert prompt.count("\nAnswer: ") == 5
    assert prompt.endswith("\nAnswer:")
    assert all(json.loads(r.details)["shots"] == 5 for r in result.items)
    assert result.scores[0].metric == "accuracy"
    assert result.scores[1].metric == "accuracy/subjects"


def test_mmlu_is_read_as_published(shared_data: Path) -> None:
    dev, test = mmlu.read_mmlu([shared_data / "eval-mmlu" / "mmlu.tar.gz"])
    assert len(test) == 38
    assert sum(map(len, test.values())) == 9765
    assert {len(items) for items in dev.values()} == {5}
    assert all(len(item.choices) == 4 for items in test.values() for item in items)


def test_mmlu_takes_fewer_shots_where_the_context_is_short(oracle: Oracles, shared_data: Path) -> None:
    config = TaskConfig(name="mmlu", kind="mmlu", input="data", limit=40, shots=5)
    result = mmlu.evaluate(config, [shared_data / "eval-mmlu"], oracle("base", context=1200))
    shots = [json.loads(r.details)["shots"] for r in result.items if r.details]
    assert 5 in shots
    assert {1, 2, 3, 4} & set(shots)
    for item in result.items:
        assert item.prompt.count("\nAnswer: ") <= 5


def test_mmlu_of_chat_models_reads_the_letter(oracle: Oracles, shared_data: Path) -> None:
    config = TaskConfig(name="mmlu", kind="mmlu", input="data", limit=30)
    result = mmlu.evaluate(config, [shared_data / "eval-mmlu"], oracle("chat", say=lambda prompt: "The answer is D."))
    assert [r.verdict == "correct" for r in result.items] == [r.reason == "D is right" for r in result.items]
    assert {r.verdict for r in result.items} == {"correct", "wrong"}


def test_missing_mmlu_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dev/SUBJECT_dev\.csv"):
        mmlu.read_mmlu([tmp_path])
    with pytest.raises(DataError, match="found nothing"):
        mmlu.read_mmlu([tmp_path / "none.tar"])
    (tmp_path / "x.tar").write_text("no archive")
    with pytest.raises(DataError, match="expected a tar archive"):
        mmlu.read_mmlu([tmp_path / "x.tar"])


# --- GSM8K ----------------------------------------------------------------------------------------------------------


def test_gsm8k_with_shots(oracle: Oracles, shared_data: Path) -> None:
    """An oracle that answers from the file itself is right, one that adds 1 is wrong; shots end "The answer is N."."""
    folder = shared_data / "eval-gsm8k"
    rows = [json.loads(line) for line in (folder / "test-first-half.jsonl").read_text().splitlines()]
    key = {row["question"]: row["answer"].split("####")[1].strip() for row in rows}

    def say(prompt: str) -> str:
        question = prompt.rsplit("Question: ", 1)[1].removesuffix("\nAnswer:")
        return f" So\nit is {key[question]}.\nThe answer is {key[question]}.\n\nQuestion: next? The answer is 0."

    config = TaskConfig(name="gsm8k", kind="gsm8k", input="data", limit=60, shots=4)
    candidate = oracle("base", say=say)
    result = gsm8k.evaluate(config, [folder], candidate)
    assert result.scores[0].value == 1
    shown = result.items[0].prompt.split("\n\nQuestion: ")
    assert len(shown) == 5
    for shot in shown[:4]:
        assert "<<" not in shot and "####" not in shot
        assert shot.split("\n")[-1].startswith("The answer is ")
    wrong = oracle("base", say=lambda prompt: say(prompt).replace(".\nThe answer is ", ".\nThe answer is 1"))
    assert gsm8k.evaluate(config, [folder], wrong).scores[0].value == 0


def test_gsm8k_shots_are_turns_of_a_dialog(oracle: Oracles, shared_data: Path) -> None:
    config = TaskConfig(name="gsm8k", kind="gsm8k", input="data", limit=2, shots=2)
    candidate = oracle("chat", say=lambda prompt: "The answer is 1.")
    gsm8k.evaluate(config, [shared_data / "eval-gsm8k"], candidate)
    prompt = candidate.engine.prompts[0]  # type: ignore[attr-defined]
    assert prompt.count("<|start_header_id|>user") == 3
    assert prompt.count("<|start_header_id|>assistant") == 3


def test_gsm8k_that_is_not_as_published_is_told(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "Q?", "answer": "so 4"}\n')
    with pytest.raises(DataError, match=r'expected an answer ending "#### N"'):
        gsm8k.read_gsm8k(tmp_path / "test.jsonl")
    with pytest.raises(DataError, match=r"expected one train\*\.jsonl"):
        gsm8k._file([tmp_path], "train")


# --- bits per byte --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_tokens", [0, 1, 2, 5, 16, 17, 18, 33, 100])
def test_windows_score_each_token_once_with_enough_before_it(num_tokens: int) -> None:
    pieces = bits_per_byte.windows(num_tokens, 16)
    scored = [i for _, split, stop in pieces for i in range(split, stop)]
    assert scored == list(range(1, num_tokens))
    for start, split, stop in pieces:
        assert stop - 1 - start <= 16
        assert start == 0 or split - start >= 8
