"""A small model on a mixture, and its loss on each domain: what a mix search asks of training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from puna.base.errors import DataError
from puna.base.output import StageOutput
from puna.pretrain.first import new_model
from puna.pretrain.loop import mean_loss, train
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.plan import plan
from puna.pretrain.objective import dense_loss, pretraining
from puna.pretrain.run import PretrainConfig, drawn, new_loader
from puna.tokenizer import Tokenizer

_HELDOUT_ROWS = 32


class ProxyTrainer:
    """Trains proxies of one shape and one seed on mixtures of the same tokens.

    tokens: to be learned of each domain, by name. Raises DataError if a domain has no held-out documents.
    """

    def __init__(
        self,
        config: PretrainConfig,
        folders: Mapping[str, Path],
        tokenizer: Path,
        by: str,
        groups: Mapping[str, Sequence[str]],
        out: StageOutput,
    ) -> None:
        self._config, self._out = config, out
        self._tokenizer = Tokenizer.load(tokenizer)
        self._corpus = Corpus(folders, "train", self._tokenizer.fingerprint)
        self._domains = self._corpus.domains(by, groups)
        self.tokens = self._corpus.tokens_by(self._domains)
        heldout = Corpus(folders, "heldout", self._tokenizer.fingerprint)
        places = np.array(heldout.domains(by, groups, all_occur=False), dtype=object)
        self._heldout = {
            name: new_loader(heldout, config.model_copy(update={"num_tokens": 1}), 0, places == name)
            for name in self.tokens
            if (places == name).any()
        }
        if missing := [name for name in self.tokens if name not in self._heldout]:
            raise DataError(
                f"expected held-out documents of every domain, came none of {', '.join(missing)}; join it with others "
                "by `groups`, or hold more out"
            )

    def train(self, name: str, shares: dict[str, float]) -> dict[str, float]:
        """Train a proxy on `shares`; its mean loss on held-out rows of each domain, in nats a token.

        It is trained below the stage's state: killed in the middle, it goes on from its last checkpoint.
        """
        config, out = self._config, self._out
        below = StageOutput(out.state / name, seed=out.seed, threads=out.threads)
        # The shares are within the limit of the run that they are for; a proxy, far shorter, needs none of its own.
        made = plan(self._corpus, self._domains, shares, np.inf, config.num_tokens, out.seed)
        loader = new_loader(self._corpus, config, out.seed, made.copies)
        model = new_model(config.model, self._tokenizer, out.seed)
        steps = config.steps()
        backward = pretraining(config.micro_batch, config.loss, config.experts)
        train(model, lambda step: loader.learned(steps.at(step)), steps.num_steps, config, below, backward)
        losses = {}
        for domain, held in self._heldout.items():
            batches = drawn(held, _HELDOUT_ROWS, config.micro_batch)
            losses[domain] = mean_loss(model, batches, dense_loss(config.loss))
        below.clear()
        return losses
