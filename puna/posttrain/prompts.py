"""Prompts to sample answers for, with what is known of the right answer.

| form | keys |
|---|---|
| Puna | id, messages, and for a verifiable one kind ("number", "choice"), answer, choices |
| GSM8K | question, answer that ends "#### N": a number |
| any dialog or preference | its turns up to the last answer; nothing can be verified |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import DataError, InputError
from puna.base.records import read_jsonl
from puna.posttrain.dialogs import Messages, messages_of
from puna.posttrain.preferences import preference_of
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog
from puna.verify import Verdict, check_choice, check_number


@dataclass(frozen=True)
class Prompt:
    """The turns up to where the assistant speaks. kind: "number", "choice", or "" where nothing can be verified."""

    id: str
    messages: Messages
    task: str = ""
    kind: str = ""
    answer: str | int = ""
    choices: tuple[str, ...] = ()

    @property
    def verifiable(self) -> bool:
        """Whether `verify` can judge an answer."""
        return bool(self.kind)

    def verify(self, text: str) -> Verdict:
        """The verdict on an answer. Raises ValueError if nothing is known of the right one."""
        if self.kind == "number":
            return check_number(text, str(self.answer))
        if self.kind == "choice":
            return check_choice(text, self.choices, int(self.answer))
        raise ValueError(f"prompt {self.id}: nothing is known of its right answer")

    def row(self) -> dict[str, Any]:
        """The prompt as a row of JSON."""
        known = {"kind": self.kind, "answer": self.answer} if self.kind else {}
        choices = {"choices": list(self.choices)} if self.choices else {}
        return {"id": self.id, "messages": self.messages, "task": self.task, **known, **choices}


def read_prompts(paths: Sequence[Path]) -> list[Prompt]:
    """All prompts of JSONL files, in file order. Raises DataError naming file and row of one that has no known form."""
    prompts = []
    for path in paths:
        for number, row in enumerate(read_jsonl(path), 1):
            try:
                prompt = prompt_of(row, f"{path.name.partition('.')[0]}-{number}")
            except (InputError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise DataError(f"{path}: row {number}: expected a prompt, came {error}") from None
            prompts += [prompt] if prompt.messages else []
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise DataError(f"{', '.join(map(str, paths))}: expected an id of its own for each prompt, found one twice")
    return prompts


def prompt_of(row: dict[str, Any], name: str) -> Prompt:
    """The prompt of a row, called `name` unless it has an id.

    Raises ValueError if it has no known form, InputError if its right answer is none.
    """
    identity = str(row.get("id") or name)
    if "question" in row and "####" in str(row.get("answer", "")):
        final = row["answer"].rpartition("####")[2].strip().replace(",", "")
        return _checked(Prompt(identity, [{"role": "user", "content": row["question"]}], "gsm8k", "number", final))
    if "chosen" in row and "rejected" in row:
        return Prompt(identity, preference_of(row).prompt)
    messages = messages_of(row)[0]
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    kind = str(row.get("kind", ""))
    if kind not in ("", "number", "choice"):
        raise ValueError(f'the kind {kind!r}; known: "number", "choice"')
    task, choices = str(row.get("task", "")), tuple(row.get("choices") or ())
    return _checked(Prompt(identity, messages, task, kind, row["answer"] if kind else "", choices))


def encode_prompts(
    prompts: Sequence[Prompt], tokenizer: Tokenizer, room: int
) -> tuple[list[Prompt], list[list[int]], int]:
    """Prompts of at most `room` tokens with their ids up to where the assistant speaks; and how many were too long.

    Raises DataError if none is left.
    """
    encoded = [encode_dialog(tokenizer, prompt.messages, generation_prompt=True)[0] for prompt in prompts]
    kept = [i for i, ids in enumerate(encoded) if len(ids) <= room]
    if not kept:
        raise DataError(
            f"expected prompts of at most {room} tokens, came {len(prompts)} ({len(encoded)} too long); "
            "check the file and the tokens that an answer may have"
        )
    return [prompts[i] for i in kept], [encoded[i] for i in kept], len(encoded) - len(kept)


def _checked(prompt: Prompt) -> Prompt:
    """A right answer that cannot be compared with is told before anything is sampled."""
    if prompt.verifiable:
        prompt.verify("")
    return prompt
