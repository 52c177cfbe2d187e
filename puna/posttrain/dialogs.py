"""Dialogs from the forms people keep them in, all turned into one: a list of `messages` in the OpenAI form.

| form | keys |
|---|---|
| OpenAI | messages: [{role, content}]; with tools also tool_calls, the role tool, and tools beside them |
| ShareGPT | conversations: [{from, value}]; with tools also from function_call, observation, tools; or tools beside |
| Alpaca | instruction, input (may be empty), output |
| Self-Instruct | instruction, instances: [{input, output}] |
| prompt and response | prompt, response (an Alpaca preamble around the prompt is taken off) |
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.base.errors import DataError
from puna.base.records import read_jsonl
from puna.tokenizer.template import PLAIN, ROLE_HEADERS, DialogForm
from puna.tokenizer.tool_calls import calls_of

Messages = list[dict[str, Any]]

_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}
_PREAMBLE = re.compile(r"\ABelow is an instruction.*?### Instruction:\n(.*?)\s*### Response:\s*\Z", re.S)


@dataclass(frozen=True)
class Dialog:
    """Messages, and the form that they are encoded in: with the tools that the assistant may call."""

    messages: Messages
    form: DialogForm = PLAIN


def read_dialogs(paths: list[Path]) -> list[Dialog]:
    """All dialogs of JSONL files, in file order.

    Raises DataError naming file and row if a row has none of the forms above, a message is not text, a tool or a call
    of one cannot be read, or a tool's result answers no call.
    """
    dialogs = []
    for path in paths:
        for number, row in enumerate(read_jsonl(path), 1):
            try:
                dialogs += dialogs_of(row)
            except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{path}: row {number}: expected a dialog, came {error}") from None
    return dialogs


def dialogs_of(row: dict[str, Any]) -> list[Dialog]:
    """The dialogs of one row (a Self-Instruct row may hold several).

    Raises ValueError or DataError if it has no known form, or its tools, calls or results do not fit.
    """
    tools = _tools_of(row)
    form = DialogForm(tools) if tools else PLAIN
    dialogs = [Dialog(messages, form) for messages in _messages_of(row)]
    for dialog in dialogs:
        _check_results(dialog.messages)
        asked = dialog.messages[int(dialog.messages[0]["role"] == "system") :] if dialog.messages else []
        if form.before_question and (not asked or asked[0]["role"] != "user"):
            raise ValueError("tools without a question of the user first, where they stand")
    return dialogs


def messages_of(row: dict[str, Any]) -> list[Messages]:
    """The messages of the dialogs of one row, for whom has no place for tools: a row with tools is refused.

    Raises ValueError or DataError like `dialogs_of`.
    """
    dialogs = dialogs_of(row)
    if any(dialog.form.tools for dialog in dialogs):
        raise ValueError("tools, which only fine-tuning takes; leave them out or choose rows without")
    return [dialog.messages for dialog in dialogs]


def _messages_of(row: dict[str, Any]) -> list[Messages]:
    if "messages" in row:
        return [[_openai(message) for message in row["messages"]]]
    if "conversations" in row:
        return [[_sharegpt(turn) for turn in row["conversations"] if turn["from"] != "tools"]]
    if "instruction" in row and "instances" in row:
        return [_single(row["instruction"], one["input"], one["output"]) for one in row["instances"]]
    if "instruction" in row and "output" in row:
        return [_single(row["instruction"], row.get("input") or "", row["output"])]
    if "prompt" in row and "response" in row:
        wrapped = _PREAMBLE.match(row["prompt"])
        return [_single(wrapped[1] if wrapped else row["prompt"], "", row["response"])]
    raise ValueError(f"the keys {', '.join(row) or '(none)'}; known forms: messages, conversations, instruction/output")


def _openai(message: dict[str, Any]) -> dict[str, Any]:
    role = message["role"]
    if role not in ROLE_HEADERS:
        raise ValueError(f"a message of the role {role!r}; known: {', '.join(ROLE_HEADERS)}")
    if "function_call" in message:
        raise ValueError("a message with function_call, the form before tool_calls; write it as tool_calls")
    content = message.get("content") if message.get("tool_calls") else message["content"]
    return _checked(role, content, message)


def _sharegpt(turn: dict[str, Any]) -> dict[str, Any]:
    who, value = turn["from"], turn["value"]
    if who == "function_call":
        found = _json(value, "a function_call")
        calls = [{"type": "function", "function": _openai_function(one)} for one in _listed(found)]
        if not calls:
            raise ValueError("a function_call without a call")
        return _checked("assistant", None, {"tool_calls": calls})
    if who not in _SHAREGPT_ROLES:
        raise ValueError(f"a turn from {who!r}; known: {', '.join([*_SHAREGPT_ROLES, 'function_call', 'tools'])}")
    return _checked(_SHAREGPT_ROLES[who], value)


def _openai_function(call: Any) -> Any:
    """A call of ShareGPT's, {name, arguments} or Llama's {name, parameters}, with OpenAI's keys."""
    if isinstance(call, dict) and "arguments" not in call and "parameters" in call:
        return {"name": call.get("name"), "arguments": call["parameters"]}
    return call


def _single(instruction: str, context: str, answer: str) -> Messages:
    asked = f"{instruction.strip()}\n\n{context.strip()}" if context.strip() else instruction.strip()
    return [_checked("user", asked), _checked("assistant", answer.strip())]


def _checked(role: str, content: Any, message: dict[str, Any] | None = None) -> dict[str, Any]:
    """The message with this role and content, if the encoder can write both and its calls."""
    message = message or {}
    if message.get("tool_calls") and role != "assistant":
        raise ValueError(f"a {role} message with tool_calls; only the assistant calls")
    calls = calls_of(message)
    is_result = ROLE_HEADERS[role] == "ipython" and isinstance(content, dict | list)
    if not isinstance(content, str) and not (calls and content is None) and not is_result:
        raise ValueError(f"a {role} message whose content is {type(content).__name__}, not text")
    return {**message, "role": role, "content": content}


# --- tools -------------------------------------------------------------------------------------------------------


def _tools_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of a row, beside its turns or in turns of their own, with OpenAI's keys."""
    given = [row.get("tools")] + [turn["value"] for turn in row.get("conversations", ()) if turn["from"] == "tools"]
    return [_tool(one) for tools in given if tools for one in _listed(_json(tools, "tools"))]


def _tool(tool: Any) -> dict[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f"a tool without a function's name: {str(tool)[:80]}")
    return tool if "function" in tool else {"type": "function", "function": tool}


def _check_results(messages: Messages) -> None:
    """Each tool's result must answer a call that the assistant made just before, by its id where both have one."""
    open_calls: list[str | None] = []
    for message in messages:
        if ROLE_HEADERS[message["role"]] != "ipython":
            open_calls = [call.get("id") for call in message.get("tool_calls") or ()]
            continue
        if not open_calls:
            raise ValueError("a tool's result without a call before it")
        named = message.get("tool_call_id")
        if named is None or not any(open_calls):
            open_calls.pop(0)
        elif named in open_calls:
            open_calls.remove(named)
        else:
            raise ValueError(f"a tool's result of the call {named!r}, which was not made just before it")


def _json(value: Any, what: str) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{what} that is no JSON ({error}): {value[:80]}") from None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
