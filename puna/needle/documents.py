"""The stage `needles`: documents with planted facts, as training text, so that a model learns to look something up.

documents-00000.parquet ...  documents of one source, as a tokens stage reads them
"""

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents
from puna.base.rng import hash64
from puna.needle.plant import Haystack, NeedleConfig, echo_document, needle_document, words_of
from puna.tokenizer import Tokenizer
from puna.tokenizer.shards import TokenShards

_SHARD_DOCUMENTS = 2000


class NeedleDocumentsConfig(NeedleConfig):
    """num_documents of `shortest` to `longest` tokens, begin and end included, evenly by their logarithm: to look
    something up is learned sooner in short texts. echo_share: of the documents, those that tell random words twice
    instead of facts: to look back is learned sooner where every other token asks for it. gap: with up to so many more
    tokens of pages between; what was learned without any is found at no other distance. source: of the documents, to
    tell those of several stages apart."""

    num_documents: int = Field(default=1000, ge=1)
    echo_share: float = Field(default=0.0, ge=0, le=1)
    gap: int = Field(default=0, ge=0)
    source: str = Field(default="needles", min_length=1)
    shortest: int = Field(default=128, ge=16)
    longest: int = Field(default=512, ge=16)

    @model_validator(mode="after")
    def _ordered(self) -> "NeedleDocumentsConfig":
        if self.longest < self.shortest:
            raise ValueError(f"longest of at least shortest = {self.shortest}")
        return self


def run(config: NeedleDocumentsConfig, inputs: Inputs, out: StageOutput) -> None:
    """Plant facts in pages. Inputs: `tokens`, whose training pages are the haystacks, and their `tokenizer`.

    Raises ConfigError if facts and questions fill more than half a document.
    """
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    shards = [TokenShards(folder / "train", tokenizer.fingerprint) for folder in inputs.many("tokens")]
    haystack = Haystack(shards, tokenizer)
    words = words_of(tokenizer) if config.echo_share else np.zeros(0, np.int64)
    numbers = range(config.num_documents)
    parts = [numbers[i : i + _SHARD_DOCUMENTS] for i in range(0, len(numbers), _SHARD_DOCUMENTS)]
    for part, of_part in enumerate(parts):
        name = f"documents-{part:05d}.parquet"
        if not out.done(name):
            with out.unit(name) as unit:
                write_documents(unit.path, (_document(haystack, words, config, out.seed, number) for number in of_part))
        out.progress(part + 1, len(parts), "files")
    out.metric(num_documents=config.num_documents)
    shown = _document(haystack, words, config, out.seed, 0).text
    out.panel("text", "The first made document", text=shown)


def _document(
    haystack: Haystack, words: npt.NDArray[np.int64], config: NeedleDocumentsConfig, seed: int, number: int
) -> Document:
    part = hash64(seed, "needle length", number) / 2**64
    length = round(config.shortest * (config.longest / config.shortest) ** part)
    if hash64(seed, "needle echo", number) < config.echo_share * 2**64:
        ids = echo_document(haystack, words, length, config.gap, seed, number)
    else:
        ids = needle_document(haystack, config, length, seed, number)
    text = haystack.tokenizer.decode(ids, skip_special=True)
    return Document(f"{config.source}-{number}", text, source=config.source)
