import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from puna.base.errors import ArtifactError
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern

SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SIZES = {"dim": 48, "layers": 3, "heads": 6, "kv_heads": 2, "ffn_dim": 80, "vocab_size": 101, "max_position": 256}


def make(tied=True, scaling=None, std=0.15):
    model = Llama(LlamaConfig(**SIZES, tied=tied, rope_scaling=scaling))
    model.initialise(5, std)
    return model


def tokens(*shape):
    return torch.randint(0, 101, shape, generator=torch.Generator().manual_seed(1))


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaling", [None, SCALING])
@torch.no_grad()
def test_transformers_loads_the_folder_and_computes_the_same_logits(tmp_path, tied, scaling):
    model = make(tied, scaling)
    save_model(model, None, tmp_path)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert reference.dtype == torch.float32
    assert relative(model(tokens(2, 200)), reference(tokens(2, 200)).logits) <= 1e-5


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaling", [None, SCALING])
@torch.no_grad()
def test_we_load_what_transformers_saves(tmp_path, tied, scaling):
    config = transformers.LlamaConfig(
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        vocab_size=101,
        head_dim=16,
        initializer_range=0.15,
        rms_norm_eps=1e-4,
        tie_word_embeddings=tied,
        rope_parameters={**(scaling or {"rope_type": "default"}), "rope_theta": 30_000.0},
    )
    torch.manual_seed(0)
    reference = transformers.LlamaForCausalLM(config)
    reference.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    model = load_model(tmp_path)
    assert (model.config.rope_theta, model.config.norm_eps, model.config.head_dim) == (30_000.0, 1e-4, 16)
    assert relative(model(tokens(2, 200)), reference(tokens(2, 200)).logits) <= 1e-5


def test_the_spelling_of_transformers_4_is_read(tmp_path):
    save_model(make(scaling=SCALING), None, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path).config == make(scaling=SCALING).config


def test_transformers_continues_a_text_with_the_same_tokens(tmp_path):
    model = make(tied=False)
    save_model(model, None, tmp_path)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    expected = reference.generate(
        tokens(1, 7), attention_mask=torch.ones(1, 7), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    ids = tokens(1, 7)
    for _ in range(20):
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(-1)], dim=1)
    assert ids.tolist() == expected.tolist()
    assert len(set(ids[0, 7:].tolist())) > 3


def test_shards_and_whole_file_hold_the_same_and_bytes_repeat(tmp_path):
    model = make(tied=False)
    for name, limit in (("whole", 10**9), ("again", 10**9), ("parts", 50_000)):
        save_model(model, None, tmp_path / name, card="# Card\n", shard_bytes=limit)
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert len(list((tmp_path / "parts").glob("model-0*-of-*.safetensors"))) > 1
    whole, parts = load_model(tmp_path / "whole"), load_model(tmp_path / "parts")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name])
        assert torch.equal(tensor, parts.state_dict()[name])
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "parts").num_parameters() == sum(
        parameter.numel() for parameter in model.parameters()
    )


def test_a_dtype_is_kept_and_can_be_asked_for(tmp_path):
    save_model(make().to(torch.bfloat16), None, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert load_model(tmp_path).output_weight.dtype == torch.float32
    assert load_model(tmp_path, torch.bfloat16).output_weight.dtype == torch.bfloat16


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), r"model\.layers\.1\.mlp\.up_proj\.weight, found none"),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(47)}),
            r"model\.norm\.weight of shape \[48\].*came \[47\]",
        ),
        (lambda t: t.update({"model.layers.3.mlp.up_proj.weight": torch.ones(1)}), r"came model\.layers\.3\.mlp"),
    ],
)
def test_tensors_that_do_not_fit_are_named_in_one_line(tmp_path, change, message):
    save_model(make(), None, tmp_path)
    change_tensors(tmp_path, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tied_folder_may_hold_the_output_matrix_too(tmp_path):
    save_model(make(), None, tmp_path)
    change_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    assert torch.equal(load_model(tmp_path).output_weight, make().output_weight)


def test_folders_that_are_no_llama_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"config\.json at .*, found none"):
        load_model(tmp_path)
    save_model(make(), None, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ArtifactError, match="is damaged: expected safetensors"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"expected weights at .*model\.safetensors"):
        load_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    with pytest.raises(ArtifactError, match="model_type 'llama', came 'qwen3'"):
        load_model(tmp_path)


def test_the_folder_has_the_tokenizer_and_stops_where_it_says(tmp_path):
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)}, special_ids(256, 11), split_pattern(1))
    model = Llama(LlamaConfig(**{**SIZES, "vocab_size": tokenizer.vocab_size}))
    model.initialise(5, std=0.15)
    save_model(model, tokenizer, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert theirs("a mill")["input_ids"] == [256, *b"a mill"]
    assert reference.generation_config.eos_token_id == [257, 264, 265] == tokenizer.stop_ids
    assert reference.config.bos_token_id == 256
    ids = torch.tensor([tokenizer.encode("a mill", bos=True)])
    with torch.no_grad():  # all logits equal: the first id that is not suppressed wins
        reference.model.norm.weight.zero_()
        reference.lm_head.weight.zero_()
        assert reference.generate(ids, max_new_tokens=5)[0, len(ids[0]) :].tolist() == [0] * 5
        stopping = reference.generate(ids, max_new_tokens=5, suppress_tokens=list(range(265)))
    assert stopping[0, len(ids[0]) :].tolist() == [265]
