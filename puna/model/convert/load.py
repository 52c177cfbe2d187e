"""A folder as a model to run. Apart from `layout.py`, so that no stage that loads one depends on the GGUF code."""

from pathlib import Path

import torch
from torch import nn

from puna.model.convert.huggingface import CONFIG_FILE, SCORE, open_huggingface
from puna.model.convert.meta import PARAMS_FILE, open_meta
from puna.model.llama import Llama


def load_model(folder: Path | str, dtype: torch.dtype = torch.float32) -> Llama:
    """Read a folder in Hugging Face or Meta layout as a `dtype` Llama on the CPU.

    Raises ArtifactError, in one line, if a file or a tensor is missing, damaged, superfluous or of another shape.
    """
    folder = Path(folder)
    meta = (folder / PARAMS_FILE).is_file() and not (folder / CONFIG_FILE).is_file()
    checkpoint = open_meta(folder) if meta else open_huggingface(folder, ignored=(SCORE,))
    with torch.device("meta"):
        model = Llama(checkpoint.config)
    for name, weight in checkpoint.weights.items():
        owner, _, leaf = name.rpartition(".")
        trained = model.get_parameter(name).requires_grad
        setattr(model.get_submodule(owner), leaf, nn.Parameter(weight.load().to(dtype), requires_grad=trained))
    return model
