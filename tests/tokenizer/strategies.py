"""Random dialogs with and without tools, for hypothesis."""

import keyword

from hypothesis import strategies as st

from puna.tokenizer.dialog import DialogForm
from puna.tokenizer.tool_calls import ToolCall

# transformers makes special tokens of their names in any text; that ours does not is tested by itself.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=25).filter(lambda text: "<|" not in text)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=4
)
identifier = st.from_regex(r"[a-z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
function = st.lists(identifier, min_size=1, max_size=2).map(".".join)
python_call = st.builds(ToolCall, function, st.dictionaries(identifier, value, max_size=3))
json_call = st.builds(ToolCall, text.filter(bool), st.dictionaries(text, value, max_size=3))
code = text.map(str.strip).filter(lambda code: code and code[0] not in "{[" and ".call(" not in code)
builtin_call = st.builds(ToolCall, st.just("code_interpreter"), st.fixed_dictionaries({"code": code})) | st.builds(
    ToolCall, st.sampled_from(["brave_search", "wolfram_alpha"]), st.fixed_dictionaries({"query": text})
)
tool = st.fixed_dictionaries(
    {"type": st.just("function"), "function": st.fixed_dictionaries({"name": text, "parameters": value})}
)
form = st.builds(
    DialogForm,
    tools=st.lists(tool, max_size=2),
    calls=st.sampled_from(["json", "pythonic"]),
    builtin_tools=st.sampled_from([(), ("code_interpreter",), ("brave_search", "wolfram_alpha", "code_interpreter")]),
    tools_in_user_message=st.booleans(),
    date_string=st.none() | st.just("26 Jul 2024"),
)


def as_item(call, as_text=False):
    """A call as an item of `tool_calls`: with a mapping, as transformers wants it, or with JSON text as OpenAI's."""
    return call.to_openai() if as_text else {"function": {"name": call.name, "arguments": call.arguments}}


@st.composite
def calls(draw, form):
    """Calls of one message that the form can write."""
    if form.builtin_tools and draw(st.booleans()):
        return [draw(builtin_call.filter(lambda call: call.name in form.builtin_tools))]
    return draw(st.lists(python_call if form.calls == "pythonic" else json_call, min_size=1, max_size=3))


@st.composite
def message(draw, form):
    role = draw(st.sampled_from(["system", "user", "assistant", "assistant", "ipython", "tool"]))
    if role == "assistant" and draw(st.booleans()):
        items = [as_item(call) for call in draw(calls(form))]
        return {"role": role, "content": draw(st.none() | text), "tool_calls": items}
    if role in ("ipython", "tool"):
        return {
            "role": role,
            "content": draw(text | st.dictionaries(text, value, max_size=2) | st.lists(value, max_size=2)),
        }
    return {"role": role, "content": draw(text)}


@st.composite
def dialog(draw):
    """(messages, form); a question comes first, after a system message or none."""
    shape = draw(form)
    start = [{"role": "system", "content": draw(text)}] if draw(st.booleans()) else []
    question = {"role": "user", "content": draw(text)}
    return [*start, question, *draw(st.lists(message(shape), max_size=4))], shape
