"""Names of the special tokens, in Llama 3.1's order; their ids follow the last rank."""

from puna.base.errors import ConfigError

BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
PAD = "<|finetune_right_pad_id|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
END_OF_MESSAGE = "<|eom_id|>"
END_OF_TURN = "<|eot_id|>"
PYTHON_TAG = "<|python_tag|>"

LLAMA3_NUM_SPECIAL = 256
_RESERVED = "<|reserved_special_token_{}|>"
_NAMED = (
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    _RESERVED.format(0),
    _RESERVED.format(1),
    PAD,
    _RESERVED.format(2),
    START_HEADER,
    END_HEADER,
    END_OF_MESSAGE,
    END_OF_TURN,
    PYTHON_TAG,
)


def special_names(num_special: int) -> list[str]:
    """The first `num_special` names of Llama 3.1's 256. Raises ConfigError below 11, where the dialog needs more."""
    if num_special < len(_NAMED):
        raise ConfigError(f"num_special: expected at least {len(_NAMED)} (dialogs need them), came {num_special}")
    num_reserved = num_special - len(_NAMED)
    return [*_NAMED, *(_RESERVED.format(3 + index) for index in range(num_reserved))]
