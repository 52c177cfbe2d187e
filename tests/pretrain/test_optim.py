"""Muon: its update by singular values, one matrix at a time as many together, and what goes to which optimizer."""

import torch

from puna.model import Llama, LlamaConfig
from puna.pretrain.optim import Muon, Optimizer, OptimizerConfig, orthogonalised


def _model() -> Llama:
    return Llama(LlamaConfig(dim=16, layers=2, heads=2, kv_heads=1, ffn_dim=40, vocab_size=31, max_position=64))


def test_orthogonalised_keeps_the_singular_vectors_and_levels_the_values() -> None:
    torch.manual_seed(0)
    for shape in ((3, 12, 20), (3, 20, 12), (1, 16, 16)):
        u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
        matrices = u * torch.linspace(1.0, 0.05, u.shape[-1], dtype=torch.float64) @ v
        made = orthogonalised(matrices)
        for before, after in zip(matrices, made, strict=True):
            u, _, v = torch.linalg.svd(before, full_matrices=False)
            inside = u.T @ after @ v.T
            values = torch.diagonal(inside)
            assert torch.linalg.norm(inside - torch.diag(values)) < 1e-9
            assert ((values > 0.5) & (values < 1.3)).all()


def test_muon_step_equals_the_formula_one_matrix_at_a_time() -> None:
    torch.manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 6), (8, 6), (6, 8))]
    muon = Muon(parameters, lr=0.1, momentum=0.9, weight_decay=0.2)
    expected = [parameter.detach().double().clone() for parameter in parameters]
    means = [torch.zeros_like(one) for one in expected]
    for _ in range(3):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        for i, parameter in enumerate(parameters):
            grad = parameter.grad.double()
            means[i] = 0.9 * means[i] + 0.1 * grad
            update = orthogonalised((0.1 * grad + 0.9 * means[i])[None])[0]
            scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
            expected[i] = expected[i] * (1 - 0.1 * 0.2) - 0.1 * scale * update
        muon.step()
    for parameter, one in zip(parameters, expected, strict=True):
        assert torch.linalg.norm(parameter.double() - one) <= 1e-4 * torch.linalg.norm(one)


def test_only_matrices_of_the_layers_go_to_muon_and_rates_keep_their_proportion() -> None:
    model = _model()
    optimizer = Optimizer(model, OptimizerConfig(optimizer="muon", lr=1e-3, matrix_lr=1e-2))
    state = optimizer.tensors()
    by_muon = {name for name, tensors in state.items() if set(tensors) == {"momentum"}}
    inner = {name for name, p in model.named_parameters() if name.startswith("layers.") and p.dim() == 2}
    assert by_muon == inner and set(state) == {name for name, _ in model.named_parameters()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step(0.0)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
