"""The engine: a step is schedule, run, postprocess. V vocabulary, D model width."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
import torch.nn.functional as F

from puna.base.errors import InputError
from puna.engine.request import Completion, SamplingParams, Sequence
from puna.engine.runner import Runner
from puna.engine.sampler import Sampler
from puna.engine.scheduler import Plan, Scheduler
from puna.model import Llama
from puna.tokenizer import Tokenizer
from puna.tokenizer.stream import TextStream

Prompt = str | SequenceOf[int]


class Engine:
    """Samples from, and scores with, one model; up to `max_batch` sequences at once.

    `threads` sets torch's for the whole process. Batched, alone, and by full forward passes the tokens are the same,
    unless two logits are nearer to each other than rounding (1e-4 is far enough in fp32).
    """

    PREFILL_TOKENS = 8192
    """Tokens of one forward pass, padding included: bounds the memory of a prefill and of `score`."""

    def __init__(self, model: Llama, tokenizer: Tokenizer, max_batch: int = 32, threads: int | None = None) -> None:
        if max_batch < 1:
            raise InputError(f"max_batch: expected at least 1, came {max_batch}")
        if threads is not None:
            torch.set_num_threads(threads)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.scheduler = Scheduler(max_batch, self.PREFILL_TOKENS)
        self.runner = Runner(model, max_batch)
        self._sampler = Sampler([])
        self._stop_ids = frozenset(tokenizer.stop_ids)
        self._token_bytes: dict[int, bytes] = {}

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self.model.config.max_position

    def generate(
        self,
        prompts: SequenceOf[Prompt],
        params: SamplingParams | SequenceOf[SamplingParams] = SamplingParams(),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Completion]:
        """Samples of each prompt, in the order of prompts, the n of a prompt side by side.

        A text gets <|begin_of_text|> in front and none of its words is special; ids are taken as they are (a dialog:
        `encode_dialog`). on_progress(finished, all) is called after steps in which something finished.
        Raises InputError, before anything runs, for an empty prompt or one that leaves no room for a token.
        """
        each = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
        if len(each) != len(prompts):
            raise InputError(f"params: expected one, or one for each of {len(prompts)} prompts, came {len(each)}")
        sequences = [s for i, (prompt, p) in enumerate(zip(prompts, each)) for s in self._sequences(i, prompt, p)]
        # Neighbours of one length waste little padding; the longest first keep the last steps full.
        self.scheduler.add(sorted(sequences, key=lambda s: (-len(s.prompt), -s.max_tokens, s.index, s.sample)))
        self._run_to_end(sequences, on_progress)
        return [self._completion(s) for s in sequences]

    def stream(self, prompt: Prompt, params: SamplingParams = SamplingParams()) -> Iterator[str]:
        """The text of one sample in pieces, each as soon as it is certain: whole characters, no start of a stop string.

        Closing the iterator cancels the sample. Raises InputError like `generate`, and if n is not 1.
        """
        if params.n != 1:
            raise InputError(f"stream: expected n = 1, came {params.n}; use generate for several samples")
        (sequence,) = self._sequences(0, prompt, params)
        return self._stream(sequence)

    def score(
        self, prompts: SequenceOf[SequenceOf[int]], continuations: SequenceOf[SequenceOf[int]]
    ) -> list[np.ndarray]:
        """Log-probability in nats of each token of each continuation after its prompt: float32 [len(continuation)].

        Equal inputs (a prompt with several continuations of one token) are computed once.
        Raises InputError for an empty prompt, or a pair that does not fit into the context.
        """
        if len(prompts) != len(continuations):
            raise InputError(
                f"score: expected as many continuations as prompts ({len(prompts)}), came {len(continuations)}"
            )
        rows: dict[tuple[int, ...], list[int]] = {}
        for i, (prompt, continuation) in enumerate(zip(prompts, continuations)):
            if not prompt:
                raise InputError(f"score: expected prompt {i} to have at least one token, came none")
            inputs = (*prompt, *continuation[:-1])
            if len(inputs) > self.context:
                raise InputError(f"score: expected at most {self.context} tokens, came {len(inputs)} in pair {i}")
            if continuation:
                rows.setdefault(inputs, []).append(i)
        scores = [np.zeros(0, np.float32)] * len(prompts)
        for batch in self._batches(list(rows)):
            pairs = [(row, i) for row, inputs in enumerate(batch) for i in rows[inputs]]
            targets = [(row, len(prompts[i]) - 1, continuations[i]) for row, i in pairs]
            for (_, i), values in zip(pairs, self._score_batch(batch, targets)):
                scores[i] = values
        return scores

    def step(self) -> list[Sequence]:
        """Run one step: one more token for every running sequence. Returns those that it finished."""
        plan = self.scheduler.schedule()
        tokens, logprobs = self._run(plan)
        return self._postprocess(plan, tokens, logprobs)

    # --- parts of a step -------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _run(self, plan: Plan) -> tuple[list[int], list[float] | None]:
        """A sampled token for each row of the plan, and their log-probabilities if a row wants them."""
        if not plan.rows:
            return [], None
        logits = self.runner.run(plan)
        if plan.changed or self._sampler.num_rows != len(plan.rows):
            self._sampler = Sampler(plan.rows, logits.device)
        positions = () if self._sampler.all_greedy else [len(row.prompt) + len(row.tokens) for row in plan.rows]
        tokens = self._sampler.sample(logits, positions)
        if not self._sampler.wants_logprobs:
            return tokens.tolist(), None
        logprobs = logits.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
        return tokens.tolist(), logprobs.tolist()

    def _postprocess(self, plan: Plan, tokens: list[int], logprobs: list[float] | None) -> list[Sequence]:
        finished = []
        known, stop_ids = self._token_bytes, self._stop_ids
        for row, (sequence, token) in enumerate(zip(plan.rows, tokens)):
            if token not in known:
                known[token] = self.tokenizer.decode_bytes([token], skip_special=True)
            sequence.append(token, known[token], token in stop_ids)
            if logprobs is not None:
                sequence.logprobs.append(logprobs[row])
            if sequence.finish_reason is not None:
                finished.append(sequence)
        return finished

    # --- parts of generate, stream and score -----------------------------------------------------------------------

    def _sequences(self, index: int, prompt: Prompt, params: SamplingParams) -> list[Sequence]:
        ids = self.tokenizer.encode(prompt, bos=True) if isinstance(prompt, str) else prompt
        if not ids:
            raise InputError(f"prompt {index}: expected at least one token, came none")
        room = self.context - len(ids)
        if room < 1:
            raise InputError(
                f"prompt {index}: expected fewer tokens than the model's context of {self.context}, came {len(ids)}; "
                "shorten the prompt"
            )
        stop_bytes = tuple(stop.encode() for stop in params.stop)
        max_tokens = min(params.max_tokens, room)
        return [Sequence(ids, params, index, sample, max_tokens, stop_bytes) for sample in range(params.n)]

    def _run_to_end(self, sequences: list[Sequence], on_progress: Callable[[int, int], None] | None) -> None:
        """Step until all `sequences` have ended; if a step fails, none of them stays behind in the scheduler."""
        left = {id(sequence) for sequence in sequences}
        try:
            while left:
                ended = left.intersection(map(id, self.step()))
                left -= ended
                if ended and on_progress:
                    on_progress(len(sequences) - len(left), len(sequences))
        finally:
            for sequence in sequences:
                if sequence.finish_reason is None:
                    sequence.finish_reason = "cancelled"

    def _completion(self, sequence: Sequence) -> Completion:
        assert sequence.finish_reason is not None
        return Completion(
            text=sequence.text.decode("utf-8", errors="replace"),
            tokens=sequence.tokens,
            logprobs=sequence.logprobs if sequence.params.logprobs else None,
            finish_reason=sequence.finish_reason,
            index=sequence.index,
            sample=sequence.sample,
        )

    def _stream(self, sequence: Sequence) -> Iterator[str]:
        text = TextStream()
        self.scheduler.add([sequence])
        given = 0
        try:
            while sequence.finish_reason is None:
                self.step()
                certain = len(sequence.text)
                if sequence.finish_reason is None:
                    certain -= max((_overlap(sequence.text, stop) for stop in sequence.stop_bytes), default=0)
                piece = text.add_bytes(bytes(sequence.text[given:certain]))
                if sequence.finish_reason is not None:
                    piece += text.end()
                given = max(given, certain)
                if piece:
                    yield piece
        finally:
            if sequence.finish_reason is None:
                sequence.finish_reason = "cancelled"

    def _batches(self, rows: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        """Rows by falling length, in batches of at most PREFILL_TOKENS tokens with their padding."""
        rows = sorted(rows, key=lambda row: (-len(row), row))
        start = 0
        while start < len(rows):
            num_rows = max(1, self.PREFILL_TOKENS // len(rows[start]))
            yield rows[start : start + num_rows]
            start += num_rows

    @torch.inference_mode()
    def _score_batch(
        self, batch: list[tuple[int, ...]], targets: list[tuple[int, int, SequenceOf[int]]]
    ) -> list[np.ndarray]:
        """For each (row, column, ids): log-probabilities of the ids that follow position `column` of that row."""
        device = self.runner.device
        tokens = torch.zeros((len(batch), max(map(len, batch))), dtype=torch.int64)
        for row, inputs in enumerate(batch):
            tokens[row, : len(inputs)] = torch.tensor(inputs)
        # Padding on the right needs no mask: attention is causal.
        hidden = self.model.hidden(tokens.to(device))
        rows = torch.tensor([row for row, _, ids in targets for _ in ids], device=device)
        columns = torch.tensor([column + i for _, column, ids in targets for i in range(len(ids))], device=device)
        wanted = torch.tensor([token for _, _, ids in targets for token in ids], device=device)
        states = hidden[rows, columns]
        parts = []
        chunk = max(1, 2**25 // self.model.config.vocab_size)  # 128 MiB of logits
        for part, ids in zip(states.split(chunk), wanted.split(chunk)):
            logits = F.linear(part, self.model.output_weight).float()
            parts.append(logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0])
        values = torch.cat(parts).cpu().numpy()
        return np.split(values, np.cumsum([len(ids) for _, _, ids in targets])[:-1])


def _overlap(text: bytearray, stop: bytes) -> int:
    """Length of the longest proper beginning of `stop` that `text` ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
