"""A run of the model's layers: what one stage of a pipeline computes, or all of it.

    tokens -> embedding -> layers -> norm -> head       the first part has the embedding, the last one norm and head

B rows, T tokens of a row on this rank (after context parallelism), D model width, S what the head returns.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Partial, Replicate

from puna.model import Llama
from puna.model.attention import AttentionContext, KVCache
from puna.model.feed_forward import Routing
from puna.model.llama import Layer
from puna.model.rope import rope_tables

Head = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden states [B, T, D], own rows of the output matrix, targets [B, T]) -> sums [S], the first to be minimised."""
CacheOf = Callable[[Tensor], KVCache]
"""Documents [B, T of the whole row] -> where keys and values of other ranks' tokens come from."""


class Part(nn.Module):
    """Layers `numbers` of a model; it shares the modules with the model, whose names they keep there."""

    def __init__(
        self,
        model: Llama,
        numbers: range,
        is_first: bool,
        is_last: bool,
        head: Head,
        cache_of: CacheOf | None = None,
        compute: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.numbers, self.is_first, self.is_last = numbers, is_first, is_last
        self.head, self.cache_of, self.compute = head, cache_of, compute
        self.frequencies = model.frequencies
        self.embedding = model.embedding if is_first or (is_last and model.output is None) else None
        self.layers = nn.ModuleDict({str(number): layers_of(model)[number] for number in numbers})
        self.norm = model.norm if is_last else None
        self.output = model.output if is_last else None
        self.routing_of: Callable[[Tensor], Routing] | None = None
        """Documents [B, T] of own tokens -> what is asked of the experts, for models that have some."""
        self.scale = 1.0
        """What the objective is multiplied with."""
        self.auxiliary: Callable[[Routing, Tensor], Tensor] | None = None
        """(what the routers of this part's layers report, targets [B, T]) -> what is added to the objective."""

    def forward(self, x: Tensor, positions: Tensor, documents: Tensor, targets: Tensor, row: Tensor) -> Tensor:
        """Hidden states [B, T, D], or of the last part what the head makes of them, [1, S].

        x: tokens [B, T] of the first part, else hidden states. positions, documents, targets: [B, T], of own tokens;
        row: documents of the whole row, which the context cache wants.
        """
        with torch.autocast(x.device.type, self.compute, enabled=self.compute != torch.float32):
            return self._computed(x, positions, documents, targets, row)

    def _computed(self, x: Tensor, positions: Tensor, documents: Tensor, targets: Tensor, row: Tensor) -> Tensor:
        if self.cache_of is None:
            context = AttentionContext.of(positions, positions, documents, None)
        else:
            context = AttentionContext.of(positions, positions, None, self.cache_of(row))
        if self.is_first:
            assert self.embedding is not None
            x = self.embedding(x).to(self.compute)
        if self.frequencies.device != x.device:
            self.frequencies = self.frequencies.to(x.device)
        rope = rope_tables(self.frequencies, context.positions, x.dtype)
        routing = self.routing_of(documents) if self.routing_of else None
        for layer in self.layers.values():
            x = layer(x, rope, context, routing)
        if routing is not None and self.auxiliary is not None and torch.is_grad_enabled():
            x = with_gradient_of(x, self.scale * self.auxiliary(routing, targets))
        if not self.is_last:
            return x
        assert self.norm is not None
        # A new tensor: FSDP hangs its hooks on what a part returns, which must not be a view.
        return torch.stack([self.head(whole(self.norm(x)), own(self.output_weight), targets)])

    @property
    def output_weight(self) -> Tensor:
        """The output matrix [V, D] of the last part."""
        if self.output is not None:
            return self.output.weight
        assert self.embedding is not None
        return self.embedding.weight


def layers_of(model: nn.Module) -> dict[int, Layer]:
    """A model's layers by number, whether it has all of them (a list) or some (by number)."""
    found = dict[int, Layer]()
    for number, layer in model.get_submodule("layers").named_children():
        assert isinstance(layer, Layer)
        found[int(number)] = layer
    return found


def whole(x: Tensor) -> Tensor:
    """The hidden states of all tokens where tensor parallelism has divided them; gradients of ranks are summed."""
    if not isinstance(x, DTensor):
        return x
    return x.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])


def own(weight: Tensor) -> Tensor:
    """This rank's rows of a divided matrix."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def with_gradient_of(x: Tensor, loss: Tensor) -> Tensor:
    """`x`; its backward pass also goes through `loss`, as if that had been added to what is minimised."""
    return _Joined.apply(x, loss)  # type: ignore[no-any-return]


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, loss: Tensor) -> Tensor:
        return x.clone()  # no view: FSDP hangs its hooks on what a part returns

    @staticmethod
    def backward(ctx: object, slope: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return slope, slope.new_ones(())
