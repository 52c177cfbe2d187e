"""Train the tokenizer: documents -> byte-level BPE with Llama 3's split pattern and special tokens."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pydantic

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents
from puna.base.rng import hash64
from puna.tokenizer import huggingface, special
from puna.tokenizer.bpe import MODEL_FILE, Tokenizer, special_ids, split_pattern
from puna.tokenizer.count import count_pieces
from puna.tokenizer.merge import train_merges

_MEASURED_BYTES = 2_000_000
_PROBE = "Question: The mill sells 3 sacks for 27 coins. 🦙 ¿Cuánto cuesta uno? 一袋多少钱？"


class TokenizerConfig(Config):
    """`vocab_size` counts the special tokens; `digits` is the longest run of digits in one token (Llama 3: 3)."""

    vocab_size: int = pydantic.Field(128_256, ge=256 + 11)
    num_special: int = pydantic.Field(special.LLAMA3_NUM_SPECIAL, ge=11)
    digits: int = pydantic.Field(3, ge=1, le=3)
    sample_bytes: int = pydantic.Field(200_000_000, ge=1)

    @pydantic.model_validator(mode="after")
    def _bytes_fit(self) -> "TokenizerConfig":
        if self.vocab_size < 256 + self.num_special:
            raise ValueError(f"vocab_size of at least 256 bytes and {self.num_special} special tokens")
        return self


def run(config: TokenizerConfig, inputs: Inputs, out: StageOutput) -> None:
    """documents -> tokenizer.model, tokenizer.json, tokenizer_config.json.

    Raises DataError if the documents are too few for the vocabulary.
    """
    folder = inputs.one("documents")
    names = (MODEL_FILE, huggingface.JSON_FILE, huggingface.CONFIG_FILE)
    if all(out.done(name) for name in names):
        tokenizer = Tokenizer.load(out.path)
    else:
        texts = (document.text for document in sample(lambda: read_documents(folder), config.sample_bytes, out.seed))
        tokenizer = train(texts, config, out.threads, lambda done, total: out.progress(done, total, "tokens"))
        for name, content in tokenizer.files().items():
            with out.unit(name) as unit:
                unit.path.write_bytes(content)
    measured = sample(lambda: read_documents(folder), _MEASURED_BYTES, out.seed + 1)
    report(tokenizer, measure(tokenizer, measured, out.threads), out)


def train(
    texts: Iterable[str],
    config: TokenizerConfig,
    threads: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tokenizer:
    """Byte-level BPE on `texts`; the same for every order of them and number of threads.

    on_progress(tokens, all) is called now and then. Raises DataError if the texts are too few for the vocabulary.
    """
    num_ranks = config.vocab_size - config.num_special
    spelling = huggingface.byte_spelling()
    first_ids = [sorted(spelling.values()).index(spelling[byte]) for byte in range(256)]
    tokens = train_merges(count_pieces(texts, config.digits, threads), first_ids, num_ranks, on_progress)
    if len(tokens) < num_ranks:
        raise DataError(
            f"expected text enough for a vocabulary of {config.vocab_size}, came enough for "
            f"{len(tokens) + config.num_special}; give more documents or lower vocab_size"
        )
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return Tokenizer(ranks, special_ids(num_ranks, config.num_special), split_pattern(config.digits))


def sample(read: Callable[[], Iterator[Document]], max_bytes: int, seed: int) -> Iterator[Document]:
    """About `max_bytes` of the documents that `read()` yields, or all if they are fewer; chosen by their ids alone."""
    total = sum(len(document.text.encode()) for document in read())
    if total == 0:
        raise DataError("expected documents with text to train a tokenizer on, came none")
    share = min(1.0, max_bytes / total)
    for document in read():
        if share == 1.0 or hash64(seed, "tokenizer-sample", document.id) < share * 2**64:
            yield document


@dataclass
class Measure:
    """Compression of one group of documents."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0

    @property
    def bytes_per_token(self) -> float:
        return self.bytes / max(self.tokens, 1)


def measure(
    tokenizer: Tokenizer, documents: Iterator[Document], threads: int = 1
) -> tuple[dict[tuple[str, str], Measure], Counter[int]]:
    """Compression by (what, group), where what is "all", "language" or "source", and how often each id occurred."""
    rows = list(documents)
    groups: dict[tuple[str, str], Measure] = defaultdict(Measure)
    used: Counter[int] = Counter()
    for document, ids in zip(rows, tokenizer.encode_batch([row.text for row in rows], threads), strict=True):
        used.update(ids)
        for key in (("all", ""), ("language", document.lang or "?"), ("source", document.source or "?")):
            groups[key].documents += 1
            groups[key].bytes += len(document.text.encode())
            groups[key].tokens += len(ids)
    return groups, used


def report(
    tokenizer: Tokenizer, measured: tuple[dict[tuple[str, str], Measure], Counter[int]], out: StageOutput
) -> None:
    """Metrics and panels: compression by language and source, the vocabulary used, and what tokens look like."""
    groups, used = measured
    out.metric(
        vocab_size=tokenizer.vocab_size,
        bytes_per_token=groups["all", ""].bytes_per_token,
        vocabulary_used=len(used) / len(tokenizer.ranks),
    )
    for (what, name), group in groups.items():
        if what == "language":
            out.metric(**{f"bytes_per_token_{name}": group.bytes_per_token})
    rows = [
        [what, name, group.documents, group.bytes, group.tokens, round(group.bytes_per_token, 3)]
        for (what, name), group in sorted(groups.items())
    ]
    out.panel(
        "table",
        "Compression of the tokenizer",
        columns=["by", "name", "documents", "bytes", "tokens", "bytes a token"],
        rows=rows,
        note=f"{len(used)} of {len(tokenizer.ranks)} tokens occur in a sample of the documents.",
    )
    out.panel("table", "Some tokens", columns=["which", "tokens"], rows=_sample_tokens(tokenizer, used))
    cut = " | ".join(tokenizer.decode([token]) for token in tokenizer.encode(_PROBE))
    out.panel("text", "A sentence cut into tokens", text=cut)


def _sample_tokens(tokenizer: Tokenizer, used: Counter[int]) -> list[list[str]]:
    by_rank = sorted(tokenizer.ranks, key=lambda token: tokenizer.ranks[token])
    longest = sorted(by_rank, key=len, reverse=True)
    commonest = [by_rank[rank] for rank, _ in sorted(used.items(), key=lambda item: (-item[1], item[0]))]
    named = {"first merges": by_rank[256:], "last merges": by_rank[::-1], "longest": longest, "commonest": commonest}
    return [[name, " ".join(_show(token) for token in tokens[:16])] for name, tokens in named.items()]


def _show(token: bytes) -> str:
    return "`" + token.decode("utf-8", errors="replace").replace("\n", "\\n") + "`"
