"""The training loss: cross-entropy in nats over the targets of a whole batch.

B rows, T tokens, V vocabulary.
"""

import torch.nn.functional as F
from torch import Tensor

from puna.pretrain.loader import IGNORED


def cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of -log p(target) over the targets that are not IGNORED; logits [B, T, V], targets [B, T].

    A sum, so that dividing by the number of targets of the WHOLE batch gives the same gradient for any number of
    micro-batches, packed or not.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
