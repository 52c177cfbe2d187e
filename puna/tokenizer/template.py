"""Llama 3's dialog format as the Jinja template that other programs read; `dialog.py` encodes the same."""

from puna.tokenizer import special

# Tool results are spoken by "ipython" in Llama 3; the OpenAI form calls the role "tool".
ROLE_HEADERS = {"system": "system", "user": "user", "assistant": "assistant", "ipython": "ipython", "tool": "ipython"}


def chat_template() -> str:
    """`messages` and `add_generation_prompt` -> text; encoded with special tokens allowed it is `encode_dialog`."""
    start, end, turn = special.START_HEADER, special.END_HEADER, special.END_OF_TURN
    return (
        "{{- bos_token }}"
        "{%- for message in messages %}"
        "{%- set role = 'ipython' if message['role'] == 'tool' else message['role'] %}"
        f"{{{{- '{start}' + role + '{end}\\n\\n' + message['content'] | trim + '{turn}' }}}}"
        "{%- endfor %}"
        f"{{%- if add_generation_prompt %}}{{{{- '{start}assistant{end}\\n\\n' }}}}{{%- endif %}}"
    )
