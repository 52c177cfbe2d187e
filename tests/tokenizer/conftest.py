"""A small tokenizer trained once, and documents to work on."""

import gzip
import itertools
import json
import random

import pytest
import transformers

from puna.base.records import Document, write_documents
from puna.tokenizer import Tokenizer
from puna.tokenizer.train import TokenizerConfig, train

CONFIG = TokenizerConfig(vocab_size=600, num_special=16, digits=1)
TEXT = "the mill sells flour to people who pay 3 or 12 coins; it's la panadera vende el río canta 村里 的 面包 很 好吃"
SYLLABLES = ["ka", "lo", "mi", "ren", "sta", "tu", "pé", "ño", "quil", "za", "dor", "bel"]
WORDS = [*TEXT.split(), *map("".join, itertools.product(SYLLABLES, SYLLABLES, ["", "s"]))]


def make_text(seed, num_words=60):
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(num_words)) + rng.choice([".", ".\n\n", "  \n", " 🦙"])


def make_documents(num):
    return [
        Document(id=f"d{n:04}", text=make_text(n), source="abc"[n % 3], lang=("en", "es")[n % 2]) for n in range(num)
    ]


@pytest.fixture(scope="session")
def config():
    return CONFIG


@pytest.fixture(scope="session")
def texts():
    return [make_text(seed) for seed in range(300)]


@pytest.fixture(scope="session")
def tokenizer(texts):
    return train(texts, CONFIG)


@pytest.fixture(scope="session")
def documents(tmp_path_factory):
    """A curated folder: 120 documents in two files, 9 held out."""
    folder = tmp_path_factory.mktemp("documents")
    rows = make_documents(129)
    write_documents(folder / "documents-00000.parquet", rows[:70])
    write_documents(folder / "documents-00001.parquet", rows[70:120])
    (folder / "heldout").mkdir()
    write_documents(folder / "heldout" / "documents-00000.parquet", rows[120:])
    return folder


@pytest.fixture(scope="session")
def shakespeare(shared_data):
    with gzip.open(shared_data / "text-tinyshakespeare" / "input.txt.gz", "rt") as file:
        return file.read()


@pytest.fixture(scope="session")
def llama3(shared_data):
    """The published Llama 3 tokenizer."""
    return Tokenizer.load(shared_data / "tokenizer-llama" / "llama3")


@pytest.fixture(scope="session")
def llama3_reference(llama3, tmp_path_factory):
    """transformers with the files that we write of it."""
    folder = tmp_path_factory.mktemp("llama3")
    llama3.save(folder)
    described = json.loads((folder / "tokenizer_config.json").read_text())
    names = {key: described[key] for key in ("bos_token", "eos_token", "pad_token", "chat_template")}
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)
