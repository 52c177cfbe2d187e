"""Tool calls as Llama 3 writes them, and back: from text to calls, or to a value that says what is wrong with it.

    json        {"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}      Llama 3.1
    pythonic    [f(a=1), g()]                                                               Llama 3.2
    built-in    brave_search.call(query="...")   or, for code_interpreter, the code         after <|python_tag|> only

Nothing is ever evaluated: the pythonic forms are read as syntax trees, and only literals are taken from them.
"""

import ast
import json
import keyword
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from puna.base.errors import DataError

CODE_INTERPRETER = "code_interpreter"
_BETWEEN_JSON = re.compile(r"[\s;,]*")
_LIKE_JSON = re.compile(r'\{\s*"(?:type|name|parameters)"\s*:|\[\s*\{\s*"(?:type|name|parameters)"\s*:')
_LIKE_PYTHONIC = re.compile(r"\[\s*[^\W\d][\w.]*\s*\(")
_LIKE_BUILTIN = re.compile(r"[^\W\d]\w*\.call\(")
_PARAMETERS = {"parameters", "arguments"}
_JSON_NAMES = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class ToolCall:
    """One call: a function's name and its arguments by name, values as JSON has them."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_openai(self) -> dict[str, Any]:
        """The call as an item of a message's `tool_calls`, its arguments as JSON text."""
        function = {"name": self.name, "arguments": _dump(self.arguments)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class MalformedCall:
    """Text that began like a call and is none: all of it, and why."""

    text: str
    reason: str


ReadCall = ToolCall | MalformedCall


def read_calls(text: str, tagged: bool = False) -> list[ReadCall]:
    """The calls that `text` is, in its order; none if it is ordinary content.

    tagged: <|python_tag|> stood before it. Then it must be calls, and what looks like none of the forms is code.
    Without the tag, text that begins like a call and cannot be read to its end is malformed; other text is content.
    """
    text = text.strip()
    if _LIKE_JSON.match(text) or (tagged and text.startswith("{")):
        return [] if not tagged and _is_data(text) else list(_read_json(text))
    if _LIKE_PYTHONIC.match(text) or (tagged and text.startswith("[")):
        return _read_pythonic(text)
    if not tagged:
        return []
    if _LIKE_BUILTIN.match(text):
        return [_read_builtin(text)]
    return [
        ToolCall(CODE_INTERPRETER, {"code": text}) if text else MalformedCall(text, "expected a call, came nothing")
    ]


def write_calls(calls: Sequence[ToolCall], pythonic: bool = False, builtin: Sequence[str] = ()) -> str:
    """The text of calls, which `read_calls` reads back; a call of a name in `builtin` is written in its own form.

    Raises DataError for what the form cannot write: a built-in call beside others, or, pythonic, names that are no
    identifiers.
    """
    own = [call for call in calls if call.name in builtin]
    if own and len(calls) > 1:
        raise DataError(f"tool calls: expected a built-in call such as {own[0].name} alone, came {len(calls)} calls")
    if own:
        return _write_builtin(own[0])
    if pythonic:
        return "[" + ", ".join(_write_pythonic(call) for call in calls) + "]"
    return "; ".join(f'{{"name": {_dump(call.name)}, "parameters": {_dump(call.arguments)}}}' for call in calls)


def calls_of(message: Mapping[str, Any]) -> list[ToolCall]:
    """The calls of a message in the OpenAI form; their arguments may be a mapping or its JSON text.

    Raises DataError if they have another form.
    """
    return [_call_of(item) for item in message.get("tool_calls") or ()]


def _call_of(item: Any) -> ToolCall:
    try:
        name, arguments = item["function"]["name"], item["function"]["arguments"]
        arguments = _load(arguments or "{}") if isinstance(arguments, str) else arguments
        return _checked(name, arguments)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(
            f"dialog: expected a tool call with a function's name and its arguments, came {said} in {str(item)[:80]}"
        ) from None


def _checked(name: Any, arguments: Any) -> ToolCall:
    """A call whose arguments are JSON values that can be written as UTF-8; else ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected a function's name, came {str(name)[:40]!r}")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"expected arguments by name, came {type(arguments).__name__}")
    arguments = dict(arguments)
    text = json.dumps([name, arguments], ensure_ascii=False, allow_nan=False)  # no NaN or infinity
    text.encode()  # no half of a surrogate pair
    if json.loads(text) != [name, arguments]:  # no tuple, no key that is a number
        raise ValueError("expected arguments of JSON values with text as keys")
    return ToolCall(name, arguments)


# --- JSON --------------------------------------------------------------------------------------------------------


def _read_json(text: str) -> Iterator[ReadCall]:
    """Calls one after the other, with blanks, semicolons or commas between, or in a list; ends at the first fault."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at = 0
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
            for one in value if isinstance(value, list) and value else [value]:
                yield _json_call(one)
        except (ValueError, TypeError, RecursionError) as error:
            yield MalformedCall(text[at:], _reason(error))
            return
        at = _BETWEEN_JSON.match(text, end).end()  # type: ignore[union-attr]


def _json_call(value: Any) -> ToolCall:
    if not isinstance(value, dict) or "name" not in value or not _PARAMETERS & value.keys():
        raise ValueError('expected {"name": ..., "parameters": {...}}, came other JSON')
    return _checked(value["name"], value["parameters"] if "parameters" in value else value["arguments"])


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _no_constant(name: str) -> None:
    raise ValueError(f"expected JSON, came {name}")


def _is_data(text: str) -> bool:
    """Whether the text is JSON that only has a "name": data that a user asked for, not a broken call."""
    try:
        value = _load(text)
    except (ValueError, RecursionError):
        return False
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(one, dict) and "name" in one and _PARAMETERS & one.keys() for one in items)


# --- Python's syntax ---------------------------------------------------------------------------------------------


def _read_pythonic(text: str) -> list[ReadCall]:
    try:
        tree = _parse(text)
        if not isinstance(tree, ast.List) or not tree.elts:
            raise ValueError(f"expected a list of calls, came {ast.unparse(tree)[:40]}")
        return [_python_call(node) for node in tree.elts]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        return [MalformedCall(text, _reason(error))]


def _read_builtin(text: str) -> ReadCall:
    """`tool.call(query="...")`; code that begins so and goes on otherwise is code."""
    try:
        call = _python_call(_parse(text))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return ToolCall(CODE_INTERPRETER, {"code": text})
    return ToolCall(call.name.removesuffix(".call"), call.arguments)


def _parse(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of "\d" and the like, which is none of our business
        return ast.parse(text, mode="eval").body


def _python_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call):
        raise ValueError(f"expected a call, came {ast.unparse(node)[:40]}")
    if node.args or any(argument.arg is None for argument in node.keywords):
        raise ValueError(f"expected arguments by name in {ast.unparse(node)[:40]}")
    arguments = {str(argument.arg): _literal(argument.value) for argument in node.keywords}
    return _checked(_dotted(node.func), arguments)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if not isinstance(node, ast.Name):
        raise ValueError(f"expected a function's name, came {ast.unparse(node)[:40]}")
    return node.id


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _JSON_NAMES:  # models write true for True
        return _JSON_NAMES[node.id]
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {ast.literal_eval(key): _literal(value) for key, value in zip(node.keys, node.values) if key}
    return ast.literal_eval(node)


def _write_pythonic(call: ToolCall) -> str:
    for name in [*call.name.split("."), *call.arguments]:
        # Python reads names in their NFKC form, so others would come back changed.
        if not name.isidentifier() or keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name:
            raise DataError(
                f"tool calls: expected names that Python can read in a pythonic call, came {name!r}; use the JSON form"
            )
    return f"{call.name}({', '.join(f'{name}={_python(value)}' for name, value in call.arguments.items())})"


def _write_builtin(call: ToolCall) -> str:
    if call.name == CODE_INTERPRETER:
        code = call.arguments.get("code")
        if not isinstance(code, str) or not code.strip():
            raise DataError(f"tool calls: expected the code of {CODE_INTERPRETER}, came {str(code)[:40]!r}")
        return code.strip()
    return _write_pythonic(ToolCall(f"{call.name}.call", call.arguments))


def _python(value: Any) -> str:
    """A JSON value as Python's literal; text is spelt as JSON spells it, which Python reads alike."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_dump(key)}: {_python(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return _dump(value)


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError | MemoryError):
        return "expected values less deeply nested"
    if isinstance(error, json.JSONDecodeError):
        return f"expected JSON, came {error.msg} at character {error.pos}"
    if isinstance(error, SyntaxError):
        return f"expected a list of calls, came {error.msg}"
    return str(error) or type(error).__name__
