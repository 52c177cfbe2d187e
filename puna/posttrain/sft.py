"""Supervised fine-tuning: cross-entropy on what the assistant says, its tool calls too, everything else masked.

Llama 3, section 4.1.3 (the dialogs) and 4.3.5 (tools).

dialogs.jsonl -> Llama 3 dialog format + mask -> pack (document mask) -> the loop of pretraining -> chat model
"""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from puna.base.errors import DataError
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, StageOutput
from puna.model import load_model
from puna.posttrain.dialogs import Dialog, read_dialogs
from puna.pretrain.loader import IGNORED, Loader
from puna.pretrain.loop import LoopConfig, language_modelling, train
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.sequences import CorpusSequences
from puna.pretrain.panels import loss_panel
from puna.pretrain.run import save_base
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog


class SftConfig(LoopConfig):
    """Settings of fine-tuning; `limit` uses only the first dialogs (0: all).

    replay_rows: rows of pretraining text in every batch, beside `batch_rows` of dialogs, against forgetting (Ouyang
    2022 mix it into PPO); they need the input `replay`.
    """

    epochs: float = Field(default=2.0, gt=0)
    row_tokens: int = Field(default=256, ge=8)
    batch_rows: int = Field(default=16, ge=1)
    limit: int = Field(default=0, ge=0)
    replay_rows: int = Field(default=0, ge=0)


class DialogSequences:
    """Encoded dialogs as packable sequences; a target is learned where the mask of its token is 1."""

    def __init__(self, encoded: list[tuple[list[int], list[int]]]):
        self._tokens = [np.array(ids, dtype=np.int64) for ids, _ in encoded]
        self._masks = [np.array(mask, dtype=bool) for _, mask in encoded]
        self.lengths: npt.NDArray[np.int64] = np.array([len(ids) for ids in self._tokens], dtype=np.int64)

    def piece(self, index: int, start: int, size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """`size` tokens from `start`, and the next tokens where they are the assistant's."""
        end = start + size + 1
        tokens, mask = self._tokens[index][start:end], self._masks[index][start:end]
        return tokens[:-1], np.where(mask[1:], tokens[1:], IGNORED)

    @property
    def num_targets(self) -> int:
        """Tokens that are learned."""
        return int(sum(mask[1:].sum() for mask in self._masks))


def run(config: SftConfig, inputs: Inputs, out: StageOutput) -> None:
    """Fine-tune a model on dialogs. Inputs: `model` (Hugging Face folder), `dialogs` (JSONL, any known form), and for
    `replay_rows` the `replay` (token shards of a tokens stage)."""
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("model"))
    dialogs = read_dialogs(inputs.many("dialogs"))
    dialogs = dialogs[: config.limit] if config.limit else dialogs
    sequences, counts = encode(dialogs, tokenizer, config.row_tokens)
    loader = Loader(sequences, config.row_tokens, config.batch_rows, out.seed)
    num_steps = max(1, round(config.epochs * loader.epoch_batches))
    model = load_model(inputs.one("model"))
    batch_at = loader.batch
    if config.replay_rows:
        corpus = Corpus({"replay": inputs.one("replay")}, "train", tokenizer.fingerprint)
        replay = Loader(CorpusSequences(corpus), config.row_tokens, config.replay_rows, out.seed)
        batch_at = lambda step: loader.batch(step).beside(replay.batch(step))  # noqa: E731
    log = train(model, batch_at, num_steps, config, out, language_modelling(config.micro_batch))
    save_base(model, tokenizer, log, out)
    out.metric(**counts, num_steps=num_steps, packing_fill=loader.packing.fill, final_loss=log[-1]["loss"])
    out.panels.append(loss_panel(log, "Fine-tuning loss"))


def encode(dialogs: list[Dialog], tokenizer: Tokenizer, row_tokens: int) -> tuple[DialogSequences, dict[str, float]]:
    """Encode dialogs, leaving out those that are longer than a row, and count.

    Raises DataError if no token would be learned.
    """
    encoded = [encode_dialog(tokenizer, dialog.messages, form=dialog.form) for dialog in dialogs]
    kept = [pair for pair in encoded if len(pair[0]) - 1 <= row_tokens]
    sequences = DialogSequences(kept)
    if not kept or not sequences.num_targets:
        raise DataError(
            f"expected dialogs with an assistant's turn of at most {row_tokens} tokens, came {len(dialogs)} dialogs "
            f"({len(encoded) - len(kept)} too long) with no token to learn; check `messages` and `row_tokens`"
        )
    counts = {
        "num_dialogs": float(len(kept)),
        "too_long": float(len(encoded) - len(kept)),
        "learned_share": sequences.num_targets / max(1, int((sequences.lengths - 1).sum())),
    }
    return sequences, counts
