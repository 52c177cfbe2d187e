"""Llama 3's dialog format as ids, each with where it comes from, and an assistant's ids back as content and calls.

    <|begin_of_text|> then a message: <|start_header_id|> role <|end_header_id|> \\n\\n content <|eot_id|>

A message that calls tools ends with <|eom_id|> (pythonic calls: <|eot_id|>); <|python_tag|> stands before a built-in
tool's call, and before any call that follows content. Contents are encoded as ordinary text, so that nobody can speak
in another's name by writing a special token.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from puna.base.errors import DataError
from puna.tokenizer import special
from puna.tokenizer.bpe import Tokenizer
from puna.tokenizer.template import PLAIN, ROLE_HEADERS, DialogForm, chat_template
from puna.tokenizer.tool_calls import MalformedCall, ReadCall, ToolCall, calls_of, read_calls, write_calls

__all__ = [
    "DialogForm",
    "MalformedCall",
    "Piece",
    "Provenance",
    "Reply",
    "ToolCall",
    "chat_template",
    "dialog_pieces",
    "encode_dialog",
    "read_reply",
]

_TOKENS = "tokens"
"""The key of a message whose ids were sampled: they are taken as they are, never encoded again from text."""


class Provenance(StrEnum):
    """Where a token comes from."""

    ROLE = "role"
    HEADER = "header"
    CONTENT = "content"
    END = "end"
    TOOL_OUTPUT = "tool output"
    SAMPLED = "sampled"


@dataclass(frozen=True)
class Piece:
    """Ids of one provenance in one message: its number, or -1 for what stands before the first.

    learnt: the assistant says them, so a loss may train on them; not an end that we put after a sample cut off.
    """

    ids: list[int]
    provenance: Provenance
    message: int
    learnt: bool = False


def encode_dialog(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    generation_prompt: bool = False,
    form: DialogForm = PLAIN,
) -> tuple[list[int], list[int]]:
    """Ids of a dialog and a mask as long: 1 on the assistant's contents and calls, and the token that ends them.

    With `generation_prompt` the header of the assistant's next message follows. Raises DataError for an unknown role,
    a content that is not text, or calls that the form cannot write.
    """
    ids: list[int] = []
    mask: list[int] = []
    for piece in dialog_pieces(tokenizer, messages, generation_prompt, form):
        ids += piece.ids
        mask += [int(piece.learnt)] * len(piece.ids)
    return ids, mask


def dialog_pieces(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    generation_prompt: bool = False,
    form: DialogForm = PLAIN,
) -> Iterator[Piece]:
    """The pieces that `encode_dialog` joins. Messages are in the OpenAI form: role, content, tool_calls.

    Of an assistant's message with `tokens` these ids are taken instead of its content and calls. The content of a
    tool's message may be a JSON object or list. Raises DataError like `encode_dialog`.
    """
    yield Piece([tokenizer.bos_id], Provenance.HEADER, -1)
    first = int(bool(messages) and messages[0].get("role") == "system")
    question = form.before_question
    if question and (len(messages) <= first or messages[first].get("role") != "user"):
        raise DataError("dialog: expected a question of the user first, where the tools stand; came none")
    if not first and form.system_message(""):
        yield from _message(tokenizer, {"role": "system", "content": ""}, -1, form)
    for number, message in enumerate(messages):
        yield from _message(tokenizer, message, number, form, question if number == first else "")
    if generation_prompt:
        yield from _header(tokenizer, "assistant", len(messages))


@dataclass(frozen=True)
class Reply:
    """What an assistant's ids say. end: how they ended; None if they were cut off."""

    content: str
    calls: tuple[ReadCall, ...]
    end: Literal["eot", "eom", "eos"] | None

    def message(self) -> dict[str, Any]:
        """The reply as a message in the OpenAI form. A malformed call is said as content, as it came."""
        broken = [call.text for call in self.calls if isinstance(call, MalformedCall)]
        calls = [call.to_openai() for call in self.calls if isinstance(call, ToolCall)]
        content = "\n".join(text for text in [self.content, *broken] if text)
        return {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})


def read_reply(tokenizer: Tokenizer, ids: Iterable[int]) -> Reply:
    """Content and calls of a sampled message, up to the first token that ends one.

    Only the token <|python_tag|> is a tag: its name, spelt in text, is text. Raises ValueError for an id that does not
    exist.
    """
    ends = dict(zip(tokenizer.stop_ids, ("eos", "eom", "eot"), strict=True))
    tag = tokenizer.special[special.PYTHON_TAG]
    said: list[int] = []
    called: list[int] | None = None
    end = None
    for token in ids:
        if token in ends:
            end = ends[token]
            break
        if token == tag and called is None:
            called = []
        else:
            (said if called is None else called).append(token)
    content = tokenizer.decode(said, skip_special=True).strip()
    if called is not None:
        calls = read_calls(tokenizer.decode(called, skip_special=True), tagged=True)
    elif calls := read_calls(content):
        content = ""
    return Reply(content, tuple(calls), end)  # type: ignore[arg-type]


def _message(
    tokenizer: Tokenizer, message: Mapping[str, Any], number: int, form: DialogForm, before: str = ""
) -> Iterator[Piece]:
    role = _role(message)
    yield from _header(tokenizer, role, number)
    if role == "assistant":
        yield from _assistant(tokenizer, message, number, form)
        return
    if message.get("tool_calls"):
        raise DataError(f"dialog: expected tool_calls in messages of the assistant only, came one of {role}")
    text = before + _content(message)
    if role == "system" and number <= 0:
        text = form.system_message(text)
    provenance = Provenance.TOOL_OUTPUT if role == "ipython" else Provenance.CONTENT
    yield Piece(tokenizer.encode(text), provenance, number)
    yield Piece([tokenizer.eot_id], Provenance.END, number)


def _assistant(tokenizer: Tokenizer, message: Mapping[str, Any], number: int, form: DialogForm) -> Iterator[Piece]:
    end = tokenizer.eot_id
    sampled = message.get(_TOKENS)
    if sampled is not None:
        yield Piece(_checked_ids(tokenizer, sampled), Provenance.SAMPLED, number, learnt=True)
        if not sampled or sampled[-1] not in (tokenizer.eot_id, tokenizer.special[special.END_OF_MESSAGE]):
            yield Piece([end], Provenance.END, number)
        return
    ids = tokenizer.encode(_content(message))
    if calls := calls_of(message):
        builtin = calls[0].name in form.builtin_tools
        tag = [tokenizer.special[special.PYTHON_TAG]] if builtin or ids else []
        ids += tag + tokenizer.encode(write_calls(calls, form.calls == "pythonic", form.builtin_tools))
        if builtin or form.calls == "json":
            end = tokenizer.special[special.END_OF_MESSAGE]
    yield Piece(ids, Provenance.CONTENT, number, learnt=True)
    yield Piece([end], Provenance.END, number, learnt=True)


def _header(tokenizer: Tokenizer, role: str, number: int) -> Iterator[Piece]:
    # The blank line can be encoded apart from the content because the content, stripped, does not start with a space.
    start, end = tokenizer.special[special.START_HEADER], tokenizer.special[special.END_HEADER]
    yield Piece([start], Provenance.HEADER, number)
    yield Piece(tokenizer.encode(role), Provenance.ROLE, number)
    yield Piece([end, *tokenizer.encode("\n\n")], Provenance.HEADER, number)


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    if role not in ROLE_HEADERS:
        raise DataError(f"dialog: expected a role of {', '.join(ROLE_HEADERS)}, came {role!r}")
    return ROLE_HEADERS[role]


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, dict | list) and ROLE_HEADERS[message["role"]] == "ipython":
        return json.dumps(content, ensure_ascii=False)
    if not isinstance(content, str):
        raise DataError(f"dialog: expected the content of a message as text, came {type(content).__name__}")
    return content.strip()


def _checked_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    wrong = next((token for token in ids if not isinstance(token, int) or not 0 <= token < tokenizer.vocab_size), None)
    if wrong is not None:
        raise DataError(f"dialog: expected sampled ids below {tokenizer.vocab_size}, came {wrong!r}")
    return list(ids)
