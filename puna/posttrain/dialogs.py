"""Dialogs from the forms people keep them in, all turned into one: a list of `messages` in the OpenAI form.

| form | keys |
|---|---|
| OpenAI | messages: [{role, content}] |
| ShareGPT | conversations: [{from, value}] |
| Alpaca | instruction, input (may be empty), output |
| Self-Instruct | instruction, instances: [{input, output}] |
| prompt and response | prompt, response (an Alpaca preamble around the prompt is taken off) |
"""

import re
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.records import read_jsonl

Messages = list[dict[str, Any]]

_SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_PREAMBLE = re.compile(r"\ABelow is an instruction.*?### Instruction:\n(.*?)\s*### Response:\s*\Z", re.S)


def read_dialogs(paths: list[Path]) -> list[Messages]:
    """All dialogs of JSONL files, in file order.

    Raises DataError naming file and row if a row has none of the forms above, or a message is not text.
    """
    dialogs = []
    for path in paths:
        for number, row in enumerate(read_jsonl(path), 1):
            try:
                dialogs += messages_of(row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}: row {number}: expected a dialog, came {error}") from None
    return dialogs


def messages_of(row: dict[str, Any]) -> list[Messages]:
    """The dialogs of one row (a Self-Instruct row may hold several). Raises ValueError if it has no known form."""
    if "messages" in row:
        return [[_checked(message["role"], message["content"], message) for message in row["messages"]]]
    if "conversations" in row:
        turns = row["conversations"]
        return [[_checked(_SHAREGPT_ROLES[turn["from"]], turn["value"]) for turn in turns]]
    if "instruction" in row and "instances" in row:
        return [_single(row["instruction"], one["input"], one["output"]) for one in row["instances"]]
    if "instruction" in row and "output" in row:
        return [_single(row["instruction"], row.get("input") or "", row["output"])]
    if "prompt" in row and "response" in row:
        wrapped = _PREAMBLE.match(row["prompt"])
        return [_single(wrapped[1] if wrapped else row["prompt"], "", row["response"])]
    raise ValueError(f"the keys {', '.join(row) or '(none)'}; known forms: messages, conversations, instruction/output")


def _single(instruction: str, context: str, answer: str) -> Messages:
    asked = f"{instruction.strip()}\n\n{context.strip()}" if context.strip() else instruction.strip()
    return [_checked("user", asked), _checked("assistant", answer.strip())]


def _checked(role: str, content: Any, message: dict[str, Any] | None = None) -> dict[str, Any]:
    if not isinstance(content, str):
        raise ValueError(f"a {role} message whose content is {type(content).__name__}, not text")
    return {**(message or {}), "role": role, "content": content}
