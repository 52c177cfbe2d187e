"""Every form of dialog becomes the same messages; what is none is told with its row."""

import json
from pathlib import Path

import pytest

from puna.base.errors import DataError
from puna.posttrain.dialogs import messages_of, read_dialogs

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
        for messages in rows:
            assert [m["role"] for m in messages] == ["user", "assistant"]
            assert "### Instruction" not in messages[0]["content"]
