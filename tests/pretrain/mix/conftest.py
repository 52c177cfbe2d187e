"""Small token folders of made documents."""

from collections.abc import Callable
from pathlib import Path

import pytest

from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.shards import TokensConfig
from puna.tokenizer.shards import run as make_shards

MakeTokens = Callable[..., Path]


def pages(section: str, count: int, words: int) -> list[Document]:
    """`count` pages of a section, each of its own words and about `words` of them long."""
    return [
        Document(
            f"{section}-{i:03d}",
            " ".join(f"{section[0]}{(i * 7 + j * j) % 90:x}" for j in range(words + i % 3)),
            f"https://{'ab'[i % 2]}.example/{section}/{i}.html",
            f"{section}.warc",
            {"spanish": "es", "chinese": "zh"}.get(section, "en"),
            meta={"difficulty": ("easy", "hard")[i % 2]},
        )
        for i in range(count)
    ]


SECTIONS = {"article": (40, 20), "maths": (12, 15), "code": (8, 10), "spanish": (6, 12)}
ALL = [page for section, (count, words) in SECTIONS.items() for page in pages(section, count, words)]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    ranks = {bytes([byte]): byte for byte in range(256)}
    Tokenizer(ranks, special_ids(256, 16), split_pattern()).save(folder)
    return folder


@pytest.fixture(scope="session")
def make_tokens(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> MakeTokens:
    """A tokens folder of the documents: all but every fifth for training, the others held out."""

    def make(documents: list[Document], shards: int = 1, labels: tuple[str, ...] = (), **config: object) -> Path:
        folder = tmp_path_factory.mktemp("documents")
        (folder / "heldout").mkdir()
        held = [one for one in documents if int(one.id[-3:]) % 5 == 4]
        rest = [one for one in documents if int(one.id[-3:]) % 5 != 4]
        for number in range(shards):
            write_documents(folder / f"documents-{number:05d}.parquet", rest[number::shards])
        write_documents(folder / "heldout/documents-00000.parquet", held)
        out = StageOutput(tmp_path_factory.mktemp("tokens"))
        settings = TokensConfig(labels=labels, **config)  # type: ignore[arg-type]
        make_shards(settings, Inputs({"documents": folder, "tokenizer": tokenizer_folder}), out)
        return out.path

    return make


@pytest.fixture(scope="session")
def tokens(make_tokens: MakeTokens) -> Path:
    return make_tokens(ALL, labels=("difficulty",), shard_bytes=1000)
