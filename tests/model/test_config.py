import pytest
import torch

from puna.base.errors import ConfigError
from puna.model import PRESETS, Llama, LlamaConfig

PUBLISHED = {
    "nano": 1_000_576,
    "1B": 1_235_814_400,
    "3B": 3_212_749_824,
    "8B": 8_030_261_248,
    "70B": 70_553_706_496,
    "405B": 405_853_388_800,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_formula_gives_the_published_number_of_parameters_and_the_module_has_them(name):
    with torch.device("meta"):
        model = Llama(PRESETS[name])
    assert PRESETS[name].num_parameters() == PUBLISHED[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]


def test_a_config_survives_its_dict():
    assert LlamaConfig(**PRESETS["8B"].to_dict()) == PRESETS["8B"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "multiple of kv_heads = 2, came 3"),
        ({"dim": 30}, "multiple of heads = 4, came 30"),
        ({"dim": 12}, "even number"),
        ({"layers": 0}, r"model\.layers: expected at least 1, came 0"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "expected \"llama3\", came 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    sizes = {"dim": 32, "layers": 1, "heads": 4, "kv_heads": 2, "ffn_dim": 48, "vocab_size": 64}
    with pytest.raises(ConfigError, match=message):
        LlamaConfig(**{**sizes, **change})
