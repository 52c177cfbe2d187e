"""What text a loss was measured on: bytes a token, so that losses of different tokenizers compare, and its bytes.

V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from puna.pretrain.loader import IGNORED, Batch
from puna.tokenizer import Tokenizer

SAME_TEXT = 0.07
"""Distance up to which two texts are of one kind: 64 rows of seeds of the village lie 0.028 to 0.033 apart, and 0.138
or more from rows of books, stories and the web (docs/scaling.md)."""
_DIGITS = 5


@dataclass(frozen=True)
class Text:
    """bytes_per_token: of what is to be told; ends of documents are tokens without bytes. byte_shares: of 0 to 255."""

    bytes_per_token: float
    byte_shares: tuple[float, ...]

    @classmethod
    def of(cls, batches: list[Batch], tokenizer: Tokenizer) -> "Text":
        """Of the targets of `batches`, the very tokens that a mean loss is over."""
        ids = torch.cat([batch.targets[batch.targets != IGNORED] for batch in batches]).numpy()
        counts = np.bincount(ids, minlength=tokenizer.vocab_size)  # [V]
        totals = np.zeros(256)
        for token in np.flatnonzero(counts).tolist():
            own = np.frombuffer(tokenizer.decode_bytes([token], skip_special=True), np.uint8)
            totals += counts[token] * np.bincount(own, minlength=256)
        num_bytes = max(1.0, float(totals.sum()))
        shares = (round(float(share), _DIGITS) for share in totals / num_bytes)
        return cls(float(totals.sum()) / max(1, len(ids)), tuple(shares))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Text":
        """What `to_dict` made."""
        return cls(float(values["bytes_per_token"]), tuple(values["byte_shares"]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"bytes_per_token": self.bytes_per_token, "byte_shares": list(self.byte_shares)}

    def distance(self, other: "Text") -> float:
        """Total variation of the shares of bytes: 0 for the same, 1 for no byte in common."""
        return float(np.abs(np.array(self.byte_shares) - np.array(other.byte_shares)).sum()) / 2
