"""Llama 3's dialog format as ids, with a mask of what the assistant is to learn.

    <|begin_of_text|> then a message: <|start_header_id|> role <|end_header_id|> \\n\\n content <|eot_id|>

Contents are encoded as ordinary text, so that nobody can speak in another's name by writing a special token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from puna.base.errors import DataError
from puna.tokenizer import special
from puna.tokenizer.bpe import Tokenizer
from puna.tokenizer.template import ROLE_HEADERS, chat_template

__all__ = ["chat_template", "encode_dialog"]


def encode_dialog(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], generation_prompt: bool = False
) -> tuple[list[int], list[int]]:
    """Ids of a dialog and a mask as long: 1 on the assistant's contents and the <|eot_id|> that ends them.

    With `generation_prompt` the header of the assistant's next message follows. Raises DataError for an unknown role
    or a content that is not text.
    """
    ids, mask = [tokenizer.bos_id], [0]
    for message in messages:
        header = _header(tokenizer, _role(message))
        content = [*tokenizer.encode(_content(message)), tokenizer.eot_id]
        ids += header + content
        mask += [0] * len(header) + [int(message["role"] == "assistant")] * len(content)
    if generation_prompt:
        header = _header(tokenizer, "assistant")
        ids += header
        mask += [0] * len(header)
    return ids, mask


def _header(tokenizer: Tokenizer, role: str) -> list[int]:
    # The blank line can be encoded apart from the content because the content, stripped, does not start with a space.
    start, end = tokenizer.special[special.START_HEADER], tokenizer.special[special.END_HEADER]
    return [start, *tokenizer.encode(role), end, *tokenizer.encode("\n\n")]


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role")
    if role not in ROLE_HEADERS:
        raise DataError(f"dialog: expected a role of {', '.join(ROLE_HEADERS)}, came {role!r}")
    return ROLE_HEADERS[role]


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        raise DataError(f"dialog: expected the content of a message as text, came {type(content).__name__}")
    return content.strip()
