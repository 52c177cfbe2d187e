"""llama.cpp as a witness of the GGUF export: its tokens, its logits and its greedy text are ours."""

from itertools import islice, takewhile

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from puna.engine import Engine, SamplingParams
from puna.model import load_model, save_model
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.train import TokenizerConfig
from puna.tokenizer.train import train as train_tokenizer
from tests.model.convert.example import SCALING, converted, folder, model, relative, tokenizer, tokens

pytestmark = pytest.mark.long

SENTENCES = (
    "The baker sells 12 loaves a day and keeps 3 for the hens.",
    "Anna walks to the river in the morning, and she can't see the bridge.",
    "El río canta de noche, and 1234 coins are many.",
    "def price(of):\n    return 3 * of  # coins\n",
    "村里有河🦙, it is far away.",
)
PROMPTS = ("The baker", "Anna walks to the", "El río", "def price(of):\n   ", "村里")
MAX_TOKENS = 40


@pytest.fixture(scope="module")
def llama_cpp():
    return pytest.importorskip(
        "llama_cpp", reason="the optional package llama-cpp-python is not installed (make llama-cpp builds it)"
    )


@pytest.fixture
def opened(llama_cpp):
    """opened(path) -> the file in llama.cpp with float32 keys and values, as ours are; closed after the test."""
    made = []

    def open_(path, **options):
        kinds = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        settings = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "logits_all": True, "verbose": False}
        made.append(llama_cpp.Llama(str(path), **kinds, **settings, **options))
        return made[-1]

    yield open_
    for one in made:
        one.close()


@pytest.fixture(scope="module", params=[1, 3], ids=["qwen2", "llama-bpe"])
def trained(llama_cpp, request, tmp_path_factory):
    """The folder of a model that knows the sentences by heart, with a tokenizer of pieces of 1 digit, or of 3."""
    words = train_tokenizer([*SENTENCES] * 5, TokenizerConfig(vocab_size=320, num_special=16, digits=request.param))
    one = model(vocab_size=words.vocab_size)
    one.initialise(1)
    optimizer = torch.optim.AdamW(one.parameters(), lr=1e-2)
    rows = [torch.tensor([[*words.encode(text, bos=True), words.eos_id]]) for text in SENTENCES]
    for _ in range(80):
        for ids in rows:
            cross_entropy(one(ids[:, :-1])[0], ids[0, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("trained")
    save_model(one, words, path)
    return path


def logits_of(theirs, ids):
    """llama.cpp's logits after each of `ids` [T], float32 [T, V]."""
    theirs.reset()
    theirs.eval(ids)
    return torch.from_numpy(np.array(theirs.scores[: len(ids)]))


@pytest.mark.parametrize(
    ("dtype", "quantize", "most"), [("float32", None, 1e-4), ("float16", None, 2e-3), (None, "q8_0", 0.03)]
)
@torch.no_grad()
def test_the_greedy_text_is_the_same(trained, tmp_path, opened, dtype, quantize, most):
    converted(trained, tmp_path / "a.gguf", "gguf", dtype=dtype, quantize=quantize)
    converted(tmp_path / "a.gguf", tmp_path / "back", "hf", dtype="float32")  # quantised weights are dequantised
    ours, words, theirs = load_model(tmp_path / "back"), Tokenizer.load(trained), opened(tmp_path / "a.gguf")
    engine = Engine(ours, words)
    completions = engine.generate(PROMPTS, SamplingParams(max_tokens=MAX_TOKENS, temperature=0))
    assert any(one.finish_reason == "stop" for one in completions)
    for prompt, expected in zip(PROMPTS, completions):
        ids = words.encode(prompt, bos=True)
        assert theirs.tokenize(prompt.encode(), add_bos=True, special=False) == ids
        said = [token for token in expected.tokens if token not in words.stop_ids]
        logits = ours(torch.tensor([[*ids, *said]]))[0]
        best = logits[len(ids) - 1 :].topk(2).values
        assert (best[:, 0] - best[:, 1]).min() > 0.5, f"rounding may decide after {prompt!r}"
        assert relative(logits_of(theirs, [*ids, *said]), logits) < most
        theirs.reset()
        drawn = islice(theirs.generate(ids, temp=0.0, repeat_penalty=1.0), MAX_TOKENS)
        assert list(takewhile(lambda token: token not in words.stop_ids, drawn)) == said
        theirs.reset()
        answer = theirs.create_completion(prompt, max_tokens=MAX_TOKENS, temperature=0.0, repeat_penalty=1.0)
        assert answer["choices"][0]["text"] == expected.text
    for sentence, prompt, completion in zip(SENTENCES, PROMPTS, completions):
        assert sentence.startswith(prompt + completion.text)


@pytest.mark.parametrize(
    "sizes",
    [
        {"tied": True},
        {"rope_scaling": SCALING, "head_dim": 128, "heads": 2, "kv_heads": 1},
        {"head_dim": 32, "rope_theta": 10_000.0, "norm_eps": 1e-3},
    ],
    ids=["tied", "scaled", "wide heads"],
)
@torch.no_grad()
def test_the_logits_of_other_shapes_are_the_same(tmp_path, opened, sizes):
    folder(tmp_path / "hf", **sizes)
    converted(tmp_path / "hf", tmp_path / "a.gguf", "gguf")
    ids = tokens(1, 240)
    assert relative(logits_of(opened(tmp_path / "a.gguf"), ids[0].tolist()), model(**sizes)(ids)[0]) < 1e-4


@pytest.mark.parametrize("digits", [1, 3])
def test_any_text_becomes_the_same_tokens(tmp_path, opened, digits):
    ranks = tokenizer().ranks | {b"12": 258, b"123": 259}  # which only pieces of several digits can become
    ours = Tokenizer(ranks, special_ids(260, 14), split_pattern(digits))
    save_model(model(vocab_size=ours.vocab_size), ours, tmp_path / "hf")
    converted(tmp_path / "hf", tmp_path / "a.gguf", "gguf")
    theirs = opened(tmp_path / "a.gguf")
    assert len(ours.encode("1234")) == {1: 4, 3: 2}[digits]
    for text in (*SENTENCES, "abcabc ab  abc\r\n\r\n12345 it's IT'S <|eot_id|> \t é\u0301 🦙\u200b!?", " ", "\n\n"):
        ids = theirs.tokenize(text.encode(), add_bos=False, special=False)
        assert ids == ours.encode(text)
        assert theirs.detokenize(ids) == text.encode()
