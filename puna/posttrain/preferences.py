"""Preferences from the forms people keep them in: a prompt, a chosen and a rejected answer, sometimes an edited one.

| form | keys |
|---|---|
| Puna, OpenAI | prompt (text or messages), chosen, rejected, edited (texts or messages) |
| LLaMA-Factory | conversations: [{from, value}], chosen: {from, value}, rejected: {from, value} |
| HH-RLHF | chosen, rejected: whole dialogues with "Human:" and "Assistant:" turns, equal up to the last answer |

A pair that can teach nothing is left out and counted by its reason: `same` (the rejected answer equals a better one),
`empty` (an answer without text), `too_long` (prompt and answer do not fit into a row), `weak` (of a strength not
wanted), `diverged` (two dialogues that differ before their last answer: there is no prompt that both answer).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.records import read_jsonl
from puna.posttrain.dialogs import Messages, messages_of
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog

REASONS = ("same", "empty", "too_long", "weak", "diverged")
_TURN = re.compile(r"\n\n(Human|Assistant):")


@dataclass(frozen=True)
class Preference:
    """One judgement. `answers` from best to worst: (edited,) chosen, rejected; `row` is what was read."""

    prompt: Messages
    answers: tuple[str, ...]
    strength: str
    row: dict[str, Any]


@dataclass(frozen=True)
class EncodedPreference:
    """Ids of the prompt up to where the assistant speaks, and of each answer with its <|eot_id|>, best first."""

    prompt: list[int]
    answers: tuple[list[int], ...]
    row: dict[str, Any]


def read_preferences(paths: Sequence[Path]) -> list[Preference]:
    """All preferences of JSONL files, in file order. Raises DataError naming file and row of one of no known form."""
    found = []
    for path in paths:
        for number, row in enumerate(read_jsonl(path), 1):
            try:
                found.append(preference_of(row))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise DataError(f"{path}: row {number}: expected a preference, came {error}") from None
    return found


def preference_of(row: dict[str, Any]) -> Preference:
    """The preference of a row. Raises ValueError if it has no known form."""
    if "chosen" not in row or "rejected" not in row:
        raise ValueError(f"the keys {', '.join(row) or '(none)'}; known forms have chosen and rejected")
    if "prompt" in row:
        prompt = row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]
        edited = [row["edited"]] if row.get("edited") else []
        answers = [*edited, row["chosen"], row["rejected"]]
    elif "conversations" in row:
        prompt, answers = messages_of(row)[0], [row["chosen"], row["rejected"]]
    else:
        prompt, answers = _human_and_assistant(row["chosen"], row["rejected"])
    if prompt and prompt[-1]["role"] != "user":
        raise ValueError("a prompt that does not end with the user's turn")
    texts = tuple(map(_text, answers))
    if len(texts) == 3 and texts[0] == texts[1]:  # an edit that changed nothing
        texts = texts[1:]
    return Preference(prompt, texts, str(row.get("strength", "")), row)


def encode_preferences(
    preferences: Sequence[Preference], tokenizer: Tokenizer, row_tokens: int, strengths: Sequence[str] = ()
) -> tuple[list[EncodedPreference], dict[str, float]]:
    """Ids of the usable preferences, and how many were left out for which reason.

    strengths: take only these (a row that states none is taken); empty: all. Raises DataError if none is left.
    """
    counts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    kept = []
    for preference in preferences:
        encoded = _encode(preference, tokenizer)
        reason = _unusable(preference, encoded, row_tokens, strengths)
        if reason:
            counts[reason] += 1
        else:
            kept.append(encoded)
    if not kept:
        reasons = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise DataError(
            f"expected preferences with two different answers in at most {row_tokens} tokens, came {len(preferences)} "
            f"({reasons or 'none'}); check the file and `row_tokens`"
        )
    left_out = {f"left_out_{name}": float(count) for name, count in counts.items()}
    return kept, {"num_preferences": float(len(kept)), **left_out}


def _encode(preference: Preference, tokenizer: Tokenizer) -> EncodedPreference:
    prompt = encode_dialog(tokenizer, preference.prompt, generation_prompt=True)[0]
    answers = tuple([*tokenizer.encode(answer), tokenizer.eot_id] for answer in preference.answers)
    return EncodedPreference(prompt, answers, preference.row)


def _unusable(
    preference: Preference, encoded: EncodedPreference, row_tokens: int, strengths: Sequence[str]
) -> str | None:
    """Why a preference teaches nothing, None if it does."""
    if not preference.prompt:
        return "diverged"
    if not all(preference.answers):
        return "empty"
    if len(set(preference.answers)) < len(preference.answers):
        return "same"
    if len(encoded.prompt) + max(map(len, encoded.answers)) > row_tokens:
        return "too_long"
    return "weak" if strengths and preference.strength and preference.strength not in strengths else None


def _human_and_assistant(chosen: str, rejected: str) -> tuple[Messages, list[str]]:
    """Prompt and answers of two dialogues that differ in their last turn only; no prompt if they differ before."""
    turns = [_TURN.split(text) for text in (chosen, rejected)]
    if any(len(parts) < 5 or parts[-2] != "Assistant" for parts in turns):
        raise ValueError('chosen and rejected that are not dialogues with "Human:" and a last "Assistant:"')
    if turns[0][:-1] != turns[1][:-1]:
        return [], [parts[-1] for parts in turns]
    roles = {"Human": "user", "Assistant": "assistant"}
    pairs = zip(turns[0][1:-2:2], turns[0][2:-2:2])
    return [{"role": roles[who], "content": text.strip()} for who, text in pairs], [parts[-1] for parts in turns]


def _text(answer: Any) -> str:
    """An answer's text, of a text, a message, or a list whose last message it is."""
    if isinstance(answer, list):
        answer = answer[-1]
    if isinstance(answer, dict):
        answer = answer.get("content", answer.get("value"))
    if not isinstance(answer, str):
        raise ValueError(f"an answer that is {type(answer).__name__}, not text")
    return answer.strip()
