"""tokenizer.json and tokenizer_config.json, so that transformers, vLLM and llama.cpp encode as we do."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer

from puna.base.errors import ArtifactError
from puna.base.files import read_json
from puna.tokenizer import special
from puna.tokenizer.template import chat_template

JSON_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"


def files(ranks: dict[bytes, int], special_ids: dict[str, int], pattern: str) -> dict[str, bytes]:
    """Both files; their bytes depend on the arguments alone."""
    fast = fast_tokenizer(ranks, special_ids, pattern)
    config = json.dumps(_config(special_ids), ensure_ascii=False, indent=2)
    return {JSON_FILE: fast.to_str(pretty=True).encode(), CONFIG_FILE: (config + "\n").encode()}


def fast_tokenizer(ranks: dict[bytes, int], special_ids: dict[str, int], pattern: str) -> FastTokenizer:
    """The same tokenizer as a pipeline of the `tokenizers` library, put together as in Meta's Llama 3 folders."""
    spelling = byte_spelling()
    vocabulary = {spell(token, spelling): rank for token, rank in ranks.items()}
    merges = [(spell(left, spelling), spell(right, spelling)) for left, right in merges_of(ranks)]
    # ignore_merges: a piece that is a token is taken whole, as tiktoken does.
    fast = FastTokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    fast.pre_tokenizer = pieces(pattern)
    fast.decoder = decoders.ByteLevel()
    bos = special.BEGIN_OF_TEXT
    begin = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, special_ids[bos])]
    )
    fast.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), begin])
    fast.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special_ids])
    return fast


def pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Text -> pieces by `pattern`, each spelt by `byte_spelling`."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def merges_of(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """All pairs whose union is a token, by the union's rank: BPE by these merges is BPE by rank.

    A token learned from one pair can also arise from another that became possible later, so the pairs that training
    chose would not be enough.
    """
    merges = []
    for token, _ in sorted(ranks.items(), key=lambda item: item[1]):
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        pairs = [(left, right) for left, right in cuts if left in ranks and right in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return merges


def byte_spelling() -> dict[int, str]:
    """GPT-2's printable character for each byte: printable Latin-1 stands for itself, the rest from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}


def spell(token: bytes, spelling: dict[int, str]) -> str:
    """A token as tokenizer.json writes it."""
    return "".join(spelling[byte] for byte in token)


def read_tokenizer_json(path: Path) -> tuple[str, dict[bytes, int], dict[str, int]]:
    """Split pattern, ranks and special tokens of a tokenizer.json. Raises ArtifactError if it is no byte-level BPE."""
    values = read_json(path)
    try:
        if values["model"]["type"] != "BPE":
            raise KeyError("a BPE model")
        pattern = _split_regex(values["pre_tokenizer"])
        added = {token["content"]: token["id"] for token in values["added_tokens"]}
        unspelling = {char: byte for byte, char in byte_spelling().items()}
        vocabulary = values["model"]["vocab"].items()
        ranks = {bytes(unspelling[char] for char in name): rank for name, rank in vocabulary if name not in added}
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: expected a byte-level BPE as Llama 3's, found no {error.args[0]}") from None
    return pattern, ranks, added


def _split_regex(pre_tokenizer: dict[str, Any]) -> str:
    for part in [pre_tokenizer, *pre_tokenizer.get("pretokenizers", [])]:
        if part["type"] == "Split":
            return str(part["pattern"]["Regex"])
    raise KeyError("split pattern")


def _config(special_ids: dict[str, int]) -> dict[str, Any]:
    added = {
        str(index): {
            "content": name,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for name, index in special_ids.items()
    }
    return {
        "added_tokens_decoder": added,
        "bos_token": special.BEGIN_OF_TEXT,
        "eos_token": special.END_OF_TEXT,
        "pad_token": special.PAD,
        "chat_template": chat_template(),
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
