import pytest
import torch

from puna.base.errors import ArtifactError
from puna.model import Llama, LlamaConfig
from puna.model.vocabulary import with_vocabulary

CONFIG = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "ffn_dim": 64, "vocab_size": 50, "max_position": 64}
# 45 ranks and 5 special tokens; three new tokens of two and three pieces between them.
ROWS = [*([token] for token in range(45)), [3, 4], [7, 7, 9], [44, 0], *([token] for token in range(45, 50))]
MOVED = torch.tensor([*range(45), *range(48, 53)])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_old_tokens_keep_their_rows_and_logits_and_new_ones_start_as_means(tied, dtype):
    model = Llama(LlamaConfig(**CONFIG, tied=tied), seed=3).to(dtype)
    grown = with_vocabulary(model, ROWS)
    assert grown.config.vocab_size == len(ROWS) and grown.config.tied == tied
    pairs = [(model.embedding.weight, grown.embedding.weight), (model.output_weight, grown.output_weight)]
    for old, new in pairs:
        assert torch.equal(new[MOVED], old)
        torch.testing.assert_close(new[45], (old[3] + old[4]) / 2)
        torch.testing.assert_close(new[46], (old[7] * 2 + old[9]) / 3, rtol=1e-2, atol=1e-3)
        assert new.dtype == dtype
    tokens = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = grown.hidden(MOVED[tokens])
        assert torch.equal(hidden, model.hidden(tokens))
        assert torch.equal(hidden @ grown.output_weight[MOVED].T, hidden @ model.output_weight.T)
        # A wider product may round otherwise in the last bit (seen in fp64); nothing else may change.
        epsilon = torch.finfo(dtype).eps
        torch.testing.assert_close(grown(MOVED[tokens])[..., MOVED], model(tokens), rtol=4 * epsilon, atol=4 * epsilon)


def test_the_old_model_is_untouched_and_the_rest_is_shared_by_name():
    model = Llama(LlamaConfig(**CONFIG), seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grown = with_vocabulary(model, ROWS)
    with torch.no_grad():
        grown.embedding.weight.zero_()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        if name != "embedding.weight":
            assert torch.equal(grown.state_dict()[name], tensor)


@pytest.mark.parametrize("rows", [[[0], [50]], [[0], []], [[-1]]])
def test_rows_of_another_model_are_refused(rows):
    with pytest.raises(ArtifactError, match="rows of a model with 50 tokens, came others"):
        with_vocabulary(Llama(LlamaConfig(**CONFIG)), rows)
