"""Llama 3's dialog format in words: what a dialog may ask for, its texts, and the Jinja template for other programs.

`dialog.py` encodes the same from pieces. The texts are those that Meta publishes for 3.1 (JSON calls, built-in tools)
and for the small models of 3.2 (pythonic calls).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from puna.tokenizer import special
from puna.tokenizer.tool_calls import CODE_INTERPRETER

# Tool results are spoken by "ipython" in Llama 3; the OpenAI form calls the role "tool".
ROLE_HEADERS = {"system": "system", "user": "user", "assistant": "assistant", "ipython": "ipython", "tool": "ipython"}

ENVIRONMENT = "Environment: ipython\n"
KNOWLEDGE_DATE = "Cutting Knowledge Date: December 2023\n"
_ANSWER_IN_JSON = (
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.'
    "Do not use variables.\n\n"
)
JSON_IN_SYSTEM = (
    "You have access to the following functions. To call a function, please respond with JSON for a function call."
    + _ANSWER_IN_JSON
)
JSON_IN_USER = (
    "Given the following functions, please respond with a JSON for a function call with its proper arguments "
    "that best answers the given prompt.\n\n" + _ANSWER_IN_JSON
)
PYTHONIC = """\
You are an expert in composing functions. You are given a question and a set of possible functions.
Based on the question, you will need to make one or more function/tool calls to achieve the purpose.
If none of the function can be used, point it out. If the given question lacks the parameters required by the function,
also point it out. You should only return the function call in tools call sections.

If you decide to invoke any of the function(s), you MUST put it in the format of \
[func_name1(params_name1=params_value1, params_name2=params_value2...), func_name2(params)]
You SHOULD NOT include any other text in the response.

Here is a list of functions in JSON format that you can invoke.

"""


@dataclass(frozen=True)
class DialogForm:
    """What a dialog has beyond its messages. The default adds nothing: then the ids are Llama 3's plain dialog.

    tools: functions that the assistant may call, as JSON schemas in the OpenAI form. calls: how it writes them; with
    "pythonic" the tools stand in the system message. tools_in_user_message: the tools of JSON calls stand before the
    first question, else in the system message. builtin_tools: names, of which Llama 3.1 knows brave_search,
    wolfram_alpha and code_interpreter. date_string: adds the lines of the knowledge's and today's date, for example
    "26 Jul 2024".
    """

    tools: Sequence[Mapping[str, Any]] = ()
    calls: Literal["json", "pythonic"] = "json"
    builtin_tools: Sequence[str] = ()
    tools_in_user_message: bool = True
    date_string: str | None = None

    def template_arguments(self) -> dict[str, Any]:
        """The same for `apply_chat_template(messages, **arguments)` of transformers."""
        given: dict[str, Any] = {"tools_in_user_message": self.tools_in_user_message}
        given |= {"tools": list(self.tools)} if self.tools else {}
        given |= {"builtin_tools": list(self.builtin_tools)} if self.builtin_tools else {}
        given |= {"pythonic": True} if self.calls == "pythonic" else {}
        return given if self.date_string is None else {**given, "date_string": self.date_string}

    @property
    def before_question(self) -> str:
        """What stands before the first question."""
        if not self.tools or not self.tools_in_user_message or self.calls == "pythonic":
            return ""
        return JSON_IN_USER + self._each_tool()

    def system_message(self, content: str) -> str:
        """The system message's text with what stands before its own `content`.

        As published, blank lines stay at its end if the content is empty, but not after pythonic tools.
        """
        text = self._system_head() + content
        return text.strip() if self.calls == "pythonic" else text

    def _system_head(self) -> str:
        text = ENVIRONMENT if self.builtin_tools or (self.tools and self.calls == "json") else ""
        named = [name for name in self.builtin_tools if name != CODE_INTERPRETER]
        text += f"Tools: {', '.join(named)}\n" if named else ""
        text += "" if self.date_string is None else f"{KNOWLEDGE_DATE}Today Date: {self.date_string}\n"
        text += "\n" if text else ""
        if self.tools and self.calls == "pythonic":
            text += PYTHONIC + _indented([tool.get("function", tool) for tool in self.tools]) + "\n\n"
        elif self.tools and not self.tools_in_user_message:
            text += JSON_IN_SYSTEM + self._each_tool()
        return text

    def _each_tool(self) -> str:
        return "".join(_indented(tool) + "\n\n" for tool in self.tools)


PLAIN = DialogForm()


def _indented(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=4)


def chat_template() -> str:
    """The template: messages, `add_generation_prompt` and what `DialogForm.template_arguments` gives -> text.

    Encoded with special tokens allowed it is `encode_dialog`, for contents without names of special tokens and for
    arguments that are mappings. Arguments that are JSON text are written as they are.
    """
    parts = (_SETTINGS, _SYSTEM, _PYTHON_VALUE, _CALLS, _MESSAGES)
    return "".join(line.strip() for part in parts for line in part.splitlines())


def _quoted(text: str) -> str:
    """`text` as a literal of Jinja."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


_SETTINGS = f"""
{{{{- bos_token }}}}
{{%- set json_tools = tools if tools and not pythonic else [] %}}
{{%- if tools_in_user_message is not defined %}}{{%- set tools_in_user_message = true %}}{{%- endif %}}
{{%- set head = namespace(system='', user='', functions=[]) %}}
{{%- if builtin_tools or json_tools %}}{{%- set head.system = {_quoted(ENVIRONMENT)} %}}{{%- endif %}}
{{%- set named = builtin_tools | reject('equalto', '{CODE_INTERPRETER}') | list if builtin_tools else [] %}}
{{%- if named %}}
{{%- set head.system = head.system + 'Tools: ' + named | join(', ') + '\\n' %}}
{{%- endif %}}
{{%- if date_string is defined and date_string is not none %}}
{{%- set head.system = head.system + {_quoted(KNOWLEDGE_DATE + "Today Date: ")} + date_string + '\\n' %}}
{{%- endif %}}
{{%- if head.system %}}{{%- set head.system = head.system + '\\n' %}}{{%- endif %}}
{{%- if tools and pythonic %}}
{{%- for tool in tools %}}{{%- set head.functions = head.functions + [tool['function'] or tool] %}}{{%- endfor %}}
{{%- set head.system = head.system + {_quoted(PYTHONIC)} + head.functions | tojson(indent=4) + '\\n\\n' %}}
{{%- elif json_tools %}}
{{%- for tool in tools %}}{{%- set head.user = head.user + tool | tojson(indent=4) + '\\n\\n' %}}{{%- endfor %}}
{{%- if tools_in_user_message %}}
{{%- set head.user = {_quoted(JSON_IN_USER)} + head.user %}}
{{%- else %}}
{{%- set head.system = head.system + {_quoted(JSON_IN_SYSTEM)} + head.user %}}
{{%- set head.user = '' %}}
{{%- endif %}}
{{%- endif %}}
"""

_SYSTEM = f"""
{{%- if head.system and (not messages or messages[0]['role'] != 'system') %}}
{{%- set messages = [{{'role': 'system', 'content': ''}}] + messages %}}
{{%- endif %}}
{{%- set first = 1 if messages and messages[0]['role'] == 'system' else 0 %}}
{{%- if head.user and (messages | length <= first or messages[first]['role'] != 'user') %}}
{{{{- raise_exception('expected a question of the user first, where the tools stand') }}}}
{{%- endif %}}
{{%- macro start(role) %}}
{{{{- '{special.START_HEADER}' + role + '{special.END_HEADER}\\n\\n' }}}}
{{%- endmacro %}}
"""

_PYTHON_VALUE = """
{%- macro python(value) %}
{%- if value is none %}{{- 'None' }}
{%- elif value is boolean %}{{- 'True' if value else 'False' }}
{%- elif value is mapping %}{{- '{' }}
{%- for key, item in value.items() %}
{{- key | tojson + ': ' + python(item) + ('' if loop.last else ', ') }}
{%- endfor %}{{- '}' }}
{%- elif value is string or value is number %}{{- value | tojson }}
{%- else %}{{- '[' }}
{%- for item in value %}{{- python(item) + ('' if loop.last else ', ') }}{%- endfor %}{{- ']' }}
{%- endif %}
{%- endmacro %}
{%- macro named_call(name, arguments) %}
{{- name + '(' }}
{%- for key, item in arguments.items() %}
{{- key + '=' + python(item) + ('' if loop.last else ', ') }}
{%- endfor %}{{- ')' }}
{%- endmacro %}
"""

_CALLS = f"""
{{%- macro written(calls) %}}
{{%- set name = calls[0]['function']['name'] %}}
{{%- if builtin_tools and name in builtin_tools %}}
{{%- if name == '{CODE_INTERPRETER}' %}}{{{{- calls[0]['function']['arguments']['code'] | trim }}}}
{{%- else %}}{{{{- named_call(name + '.call', calls[0]['function']['arguments']) }}}}{{%- endif %}}
{{%- else %}}
{{{{- '[' if pythonic else '' }}}}
{{%- for call in calls %}}
{{%- set name, arguments = call['function']['name'], call['function']['arguments'] %}}
{{%- if pythonic %}}{{{{- named_call(name, arguments) + ('' if loop.last else ', ') }}}}
{{%- else %}}
{{%- set values = arguments if arguments is string else arguments | tojson %}}
{{{{- '{{"name": ' + name | tojson + ', "parameters": ' + values + '}}' + ('' if loop.last else '; ') }}}}
{{%- endif %}}
{{%- endfor %}}
{{{{- ']' if pythonic else '' }}}}
{{%- endif %}}
{{%- endmacro %}}
"""

_MESSAGES = f"""
{{%- for message in messages %}}
{{%- set role = 'ipython' if message['role'] == 'tool' else message['role'] %}}
{{%- set content = '' if message['content'] is none else message['content'] %}}
{{{{- start(role) }}}}
{{%- if role == 'system' and loop.first and pythonic %}}{{{{- (head.system + content | trim) | trim }}}}
{{%- elif role == 'system' and loop.first %}}{{{{- head.system + content | trim }}}}
{{%- elif role == 'user' and loop.index0 == first %}}{{{{- head.user + content | trim }}}}
{{%- elif role == 'ipython' and content is not string %}}{{{{- content | tojson }}}}
{{%- else %}}{{{{- content | trim }}}}
{{%- endif %}}
{{%- if role == 'assistant' and message['tool_calls'] %}}
{{%- set calls = message['tool_calls'] %}}
{{%- set builtin = builtin_tools and calls[0]['function']['name'] in builtin_tools %}}
{{{{- '{special.PYTHON_TAG}' if builtin or content | trim else '' }}}}
{{{{- written(calls) }}}}
{{{{- '{special.END_OF_TURN}' if pythonic and not builtin else '{special.END_OF_MESSAGE}' }}}}
{{%- else %}}{{{{- '{special.END_OF_TURN}' }}}}
{{%- endif %}}
{{%- endfor %}}
{{%- if add_generation_prompt %}}{{{{- start('assistant') }}}}{{%- endif %}}
"""
