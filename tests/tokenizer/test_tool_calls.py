import ast
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import DataError
from puna.tokenizer.tool_calls import MalformedCall, ToolCall, calls_of, read_calls, write_calls
from tests.tokenizer import strategies


@given(calls=st.lists(strategies.json_call, min_size=1, max_size=3), tagged=st.booleans())
def test_json_calls_are_read_as_written(calls, tagged):
    text = write_calls(calls)
    assert read_calls(text, tagged) == calls
    assert json.loads(write_calls(calls[:1])) == {"name": calls[0].name, "parameters": calls[0].arguments}


@given(calls=st.lists(strategies.python_call, min_size=1, max_size=3), tagged=st.booleans())
def test_pythonic_calls_are_read_as_written_and_mean_the_same_to_python(calls, tagged):
    text = write_calls(calls, pythonic=True)
    assert read_calls(text, tagged) == calls
    for node, call in zip(ast.parse(text, mode="eval").body.elts, calls, strict=True):
        assert {one.arg: ast.literal_eval(one.value) for one in node.keywords} == call.arguments


@given(call=strategies.builtin_call)
def test_builtin_calls_are_read_as_written(call):
    assert read_calls(write_calls([call], builtin=[call.name]), tagged=True) == [call]


def test_the_forms_are_the_published_ones():
    calls = [ToolCall("get_weather", {"city": "São Paulo", "days": 2}), ToolCall("g", {"deep": [True, None, 1.5]})]
    assert write_calls(calls) == (
        '{"name": "get_weather", "parameters": {"city": "São Paulo", "days": 2}}; '
        '{"name": "g", "parameters": {"deep": [true, null, 1.5]}}'
    )
    assert write_calls(calls, pythonic=True) == '[get_weather(city="São Paulo", days=2), g(deep=[True, None, 1.5])]'
    search = ToolCall("brave_search", {"query": 'the "best" mill'})
    assert write_calls([search], builtin=["brave_search"]) == r'brave_search.call(query="the \"best\" mill")'
    code = ToolCall("code_interpreter", {"code": "print(1)\n"})
    assert write_calls([code], builtin=["code_interpreter"]) == "print(1)"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "parameters": {"a": 1}}',
        '{"type": "function", "name": "f", "arguments": {"a": 1}}',
        '[{"name": "f", "parameters": {"a": 1}}]',
        ' {"parameters":{"a":1},"name":"f"} ;\n',
        "[f(a=1)]",
        "[ f ( a = 1 , ) ]",
    ],
)
def test_spellings_of_one_call(text):
    assert read_calls(text) == read_calls(text, tagged=True) == [ToolCall("f", {"a": 1})]


def test_pythonic_calls_may_spell_constants_as_json_does():
    assert read_calls("[f(a=true, b=[null, {'c': false}], d=-1)]") == [
        ToolCall("f", {"a": True, "b": [None, {"c": False}], "d": -1})
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "f", "parameters": {"a": 1}', "expected JSON, came"),
        ('{"name": "f", "parameters": "a"}', "expected arguments by name, came str"),
        ('{"name": 5, "parameters": {}}', "expected a function's name, came '5'"),
        ('{"name": "f", "parameters": {"a": NaN}}', "expected JSON, came NaN"),
        ('{"name": "f", "parameters": {"a": 1e999}}', "not JSON compliant"),
        ('{"name": "f", "parameters": {"a": "\\ud83d"}}', "surrogates not allowed"),
        ('{"name": "f", "parameters": {"a": ' + "[" * 100_000 + "}}", "less deeply nested"),
        ("[f(a=1), g(", "never closed"),
        ("[f(1)]", "arguments by name in f(1)"),
        ("[f(**{'a': 1})]", "arguments by name"),
        ("[f(a=g(1))]", "malformed node or string"),
        ("[f(a={1, 2})]", "not JSON serializable"),
        ("[f(a=(1, 2))]", "expected arguments of JSON values"),
        ("[f(a={1: 2})]", "expected arguments of JSON values"),
        ("[f(a=1), 'g']", "expected a call, came 'g'"),
        ("[f(a=1)] and more", "a list of calls, came [f(a=1)] and more"),
        ("[f(a=1)] I hope", "invalid syntax"),
        ("[f(a=" + "[" * 5_000 + "1)]", "too many nested parentheses"),
        ("[f(a=__import__('os').system('true'))]", "malformed node"),
    ],
)
def test_malformed_calls_are_told_with_their_text(text, reason):
    (call,) = read_calls(text)
    assert isinstance(call, MalformedCall)
    assert call.text == text
    assert reason in call.reason, call.reason


def test_good_calls_before_a_broken_one_are_kept():
    calls = read_calls('{"name": "f", "parameters": {}}; {"name": "g", "param')
    assert calls[0] == ToolCall("f") and calls[1].text == '{"name": "g", "param'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is 3.",
        '{"name": "Ada", "age": 3}',
        '[{"name": "Ada"}]',
        "[1, 2]",
        "[the mill](x)",
        "{}",
        "f(a=1)",
        "[]",
    ],
)
def test_content_is_no_call(text):
    assert read_calls(text) == []


@settings(max_examples=300)
@given(text=st.text() | st.text("[]{}()\"'name:,=f1 \\parmets;\n", max_size=40), tagged=st.booleans())
def test_no_text_makes_the_reader_fail(text, tagged):
    for call in read_calls(text, tagged) + read_calls("[f(" + text, tagged) + read_calls('{"name":' + text, tagged):
        if isinstance(call, ToolCall):
            assert read_calls(write_calls([call])) == [call]
        else:
            assert call.reason


@pytest.mark.parametrize(
    ("calls", "options", "message"),
    [
        (
            [ToolCall("get-weather")],
            {"pythonic": True},
            "names that Python can read in a pythonic call, came 'get-weather'",
        ),
        ([ToolCall("f", {"class": 1})], {"pythonic": True}, "came 'class'"),
        ([ToolCall("f", {"ﬁ": 1})], {"pythonic": True}, "came 'ﬁ'"),
        ([ToolCall("f"), ToolCall("s")], {"builtin": ["s"]}, "a built-in call such as s alone, came 2 calls"),
        (
            [ToolCall("code_interpreter")],
            {"builtin": ["code_interpreter"]},
            "the code of code_interpreter, came 'None'",
        ),
    ],
)
def test_what_a_form_cannot_write_is_refused(calls, options, message):
    with pytest.raises(DataError, match=message):
        write_calls(calls, **options)


@pytest.mark.parametrize(
    "item", [{}, {"function": {"name": "f"}}, {"function": {"name": "f", "arguments": "{"}}, {"function": None}, "f",
             {"function": {"name": "f", "arguments": [1]}}, {"function": {"name": "f", "arguments": {"a": {1}}}}]
)  # fmt: skip
def test_tool_calls_of_another_form_are_refused(item):
    with pytest.raises(DataError, match="expected a tool call with a function's name and its arguments, came"):
        calls_of({"tool_calls": [item]})


def test_accepted_answers_of_bfcl_can_be_written_and_read(shared_data):
    answers = shared_data / "eval-bfcl" / "possible_answer"
    num = 0
    for name in ("simple_python", "parallel", "multiple", "parallel_multiple", "live_simple"):
        with gzip.open(answers / f"BFCL_v4_{name}.jsonl.gz", "rt") as file:
            for row in map(json.loads, file):
                calls = [
                    ToolCall(function, {key: options[0] for key, options in arguments.items() if options})
                    for answer in row["ground_truth"]
                    for function, arguments in answer.items()
                ]
                assert read_calls(write_calls(calls)) == calls
                assert read_calls(write_calls(calls, pythonic=True)) == calls
                num += len(calls)
    assert num > 900
