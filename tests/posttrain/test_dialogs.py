"""Every form of dialog becomes the same messages; what is none is told with its row."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError
from puna.posttrain.dialogs import Dialog, dialogs_of, messages_of, read_dialogs
from puna.tokenizer.dialog import DialogForm
from puna.tokenizer.tool_calls import ToolCall, calls_of

EXPECTED = [{"role": "user", "content": "Add.\n\n1 and 2"}, {"role": "assistant", "content": "3"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": EXPECTED},
        {"conversations": [{"from": "human", "value": "Add.\n\n1 and 2"}, {"from": "gpt", "value": "3"}]},
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"instruction": "Add. ", "instances": [{"input": "1 and 2", "output": "3 "}]},
        {"prompt": "Add.\n\n1 and 2", "response": "3"},
        {
            "prompt": "Below is an instruction that x.\n\n### Instruction:\nAdd.\n\n1 and 2\n\n### Response:\n",
            "response": "3",
        },
    ],
)
def test_forms(row: dict[str, object]) -> None:
    assert messages_of(row) == [EXPECTED]


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": EXPECTED}) + "\n" + json.dumps({"text": "x"}) + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl: row 2: expected a dialog, came the keys text; known forms"):
        read_dialogs([path])
    path.write_text(json.dumps({"messages": [{"role": "user", "content": 5}]}) + "\n")
    with pytest.raises(DataError, match="content is int, not text"):
        read_dialogs([path])


def test_real_instructions(shared_data: Path) -> None:
    folder = shared_data / "sft-instructions"
    names = ("alpaca_en.jsonl.gz", "dolly_hhrlhf.jsonl.gz", "self_instruct_seed_tasks.jsonl")
    dialogs = {name: read_dialogs([folder / name]) for name in names}
    assert [len(dialogs[name]) for name in names[:2]] == [999, 1000] and len(dialogs[names[2]]) >= 175
    for rows in dialogs.values():
        for dialog in rows:
            assert dialog == Dialog(dialog.messages) and [m["role"] for m in dialog.messages] == ["user", "assistant"]
            assert "### Instruction" not in dialog.messages[0]["content"]


PRICE = {"name": "price", "description": "What it costs.", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": PRICE}
ASKED = {"role": "user", "content": "How much is flour?"}
CALL = {"id": "a", "type": "function", "function": {"name": "price", "arguments": {"of": "flour"}}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": '{"coins": 3}'}
ANSWER = {"role": "assistant", "content": "It costs 3."}
CALL_TEXT = '{"name": "price", "arguments": {"of": "flour"}}'


def shared(*turns: tuple[str, Any], **beside: Any) -> dict[str, Any]:
    """A row in the form of ShareGPT."""
    return {"conversations": [{"from": who, "value": value} for who, value in turns], **beside}


def _text_of(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASKED, CALLED, RESULT, ANSWER], "tools": [TOOL]},
        {"messages": [ASKED, {**CALLED, "tool_calls": [_text_of(CALL)]}, RESULT, ANSWER], "tools": json.dumps([PRICE])},
        shared(
            ("human", "How much is flour?"),
            ("function_call", CALL_TEXT),
            ("observation", '{"coins": 3}'),
            ("gpt", "It costs 3."),
            tools=json.dumps([PRICE]),
        ),
        shared(
            ("tools", json.dumps([TOOL])),
            ("user", "How much is flour?"),
            ("function_call", [{"name": "price", "parameters": {"of": "flour"}}]),
            ("tool", '{"coins": 3}'),
            ("assistant", "It costs 3."),
        ),
    ],
)
def test_forms_with_tools(row: dict[str, Any]) -> None:
    (dialog,) = dialogs_of(row)
    assert dialog.form == DialogForm([TOOL])
    assert [message["role"] for message in dialog.messages] == ["user", "assistant", "tool", "assistant"]
    assert calls_of(dialog.messages[1]) == [ToolCall("price", {"of": "flour"})]
    assert [message["content"] for message in dialog.messages] == [
        "How much is flour?",
        None,
        '{"coins": 3}',
        "It costs 3.",
    ]


def test_calls_at_once_have_a_result_each() -> None:
    twice = json.dumps([json.loads(CALL_TEXT), {"name": "price", "arguments": '{"of": "salt"}'}])
    turns = [("human", "And salt?"), ("function_call", twice), ("observation", {"coins": 3}), ("observation", [4])]
    (dialog,) = dialogs_of(shared(*turns))
    assert calls_of(dialog.messages[1]) == [ToolCall("price", {"of": "flour"}), ToolCall("price", {"of": "salt"})]
    assert [message["content"] for message in dialog.messages[2:]] == [{"coins": 3}, [4]]
    with pytest.raises(ValueError, match="a tool's result without a call before it"):
        dialogs_of(shared(*turns, ("observation", "5")))
    other = {**CALLED, "tool_calls": [CALL, {**CALL, "id": "b"}]}
    results = [{**RESULT, "tool_call_id": name} for name in "ba"]
    assert dialogs_of({"messages": [ASKED, other, *results]})[0].messages[2:] == results
    with pytest.raises(ValueError, match="a tool's result of the call 'b', which was not made"):
        dialogs_of({"messages": [ASKED, other, results[0], results[0]]})


@pytest.mark.parametrize(
    "row, message",
    [
        (
            shared(("human", "x"), ("function_call", "price(flour)")),
            r"function_call that is no JSON \(.*: price\(flour",
        ),
        (
            shared(("human", "x"), ("function_call", '{"name": "price"}')),
            "a function's name and its arguments, came no",
        ),
        (shared(("human", "x"), ("function_call", '"price"')), "a function's name and its arguments"),
        (shared(("human", "x"), ("function_call", "[]")), "a function_call without a call"),
        (shared(("human", "x"), ("observation", "3"), ("gpt", "3")), "a tool's result without a call before it"),
        (
            shared(("human", "x"), ("function_call", CALL_TEXT), ("human", "y"), ("observation", "3")),
            "a tool's result without a call before it",
        ),
        (shared(("bot", "x")), "a turn from 'bot'; known: human, .*, function_call, tools"),
        (shared(("human", "x"), tools="[{"), r"tools that is no JSON"),
        (shared(("human", "x"), tools=[{"description": "x"}]), "a tool without a function's name"),
        (shared(("gpt", "x"), tools=[PRICE]), "tools without a question of the user first"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "a message of the role 'bot'; known: system, user"),
        ({"messages": [ASKED, {**ANSWER, "function_call": {"name": "price"}}]}, "write it as tool_calls"),
        ({"messages": [{**ASKED, "tool_calls": [CALL]}]}, "a user message with tool_calls; only the assistant calls"),
        ({"messages": [ASKED, {**ANSWER, "tool_calls": [{"name": "price"}]}]}, "came no 'function'"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "content is NoneType, not text"),
        ({"messages": [ASKED, {**ASKED, "content": {"a": 1}}]}, "content is dict, not text"),
    ],
)
def test_bad_rows_with_tools_are_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": EXPECTED}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl: row 2: expected a dialog, came .*" + message):
        read_dialogs([path])


def test_who_has_no_place_for_tools_refuses_them() -> None:
    row = {"messages": [ASKED, CALLED, RESULT, ANSWER]}
    assert messages_of(row) == [row["messages"]] == messages_of({**row, "tools": "[]"})
    with pytest.raises(ValueError, match="tools, which only fine-tuning takes"):
        messages_of({**row, "tools": [TOOL]})


def test_real_dialogs_with_tools(shared_data: Path) -> None:
    dialogs = read_dialogs([shared_data / "sft-toolcall" / "glaive_en.jsonl.gz"])
    messages = [message for dialog in dialogs for message in dialog.messages]
    assert len(dialogs) == 200 and sum(bool(dialog.form.tools) for dialog in dialogs) == 119
    assert sum(len(calls_of(message)) for message in messages) == 137
    assert sum(message["role"] == "tool" for message in messages) == 137
    # Row 198 has a result after a call that its translators left in the text.
    with pytest.raises(DataError, match="row 198: expected a dialog, came a tool's result without a call before it"):
        read_dialogs([shared_data / "sft-toolcall" / "glaive_zh.jsonl.gz"])
