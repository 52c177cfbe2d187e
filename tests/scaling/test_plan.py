"""Plans: what is planned is what is spent, what was published comes out, and what is impossible is told."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.model import PRESETS
from puna.model.flops import forward_flops, training_flops
from puna.scaling.devices import DEVICES, this_machine
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw
from puna.scaling.optimum import Demand
from puna.scaling.plan import TOKENS_PER_PARAMETER, Budget, Plan, Workload, make_plan

H100 = DEVICES["H100-SXM"]
# GPU-hours and tokens of pretraining, from the model cards of Llama 3 and 3.1.
TRAINED = {"8B": (1.3e6, 15e12), "70B": (6.4e6, 15e12), "405B": (30.84e6, 15.6e12)}


@pytest.mark.parametrize("mfu", [0.43, 0.41])
def test_405b_takes_the_published_hours(mfu: float) -> None:
    hours, tokens = TRAINED["405B"]
    budget = Budget(gpus=16384, mfu=mfu)
    plan = make_plan(budget, REFIT, Workload(parameters=PRESETS["405B"].num_parameters(), tokens=tokens))
    assert plan.num_parameters == 405_853_388_800 and plan.flops == pytest.approx(3.8e25, rel=0.02)
    assert plan.gpu_hours == pytest.approx(hours, rel=0.2)
    # 54 days of its training are reported, and 16,384 devices at that rate.
    assert 50 < plan.seconds / 86400 < 80


@pytest.mark.parametrize(("name", "expected"), [("8B", 0.156), ("70B", 0.279), ("405B", 0.346)])
def test_the_mfu_that_published_hours_imply(name: str, expected: float) -> None:
    """Well under the estimate for 8B and 70B: their hours count what is no step of one run."""
    hours, tokens = TRAINED[name]
    flops = tokens * training_flops(PRESETS[name], 8192)
    implied = flops / (hours * 3600 * H100.peak("bf16"))
    print(f"{name}: {hours / 1e6:.2f}M H100-hours, {tokens / 1e12:.1f}T tokens: MFU {implied:.1%}")
    assert implied == pytest.approx(expected, abs=0.001)
    # The other way round: these hours at this MFU buy these tokens.
    budget = Budget(gpu_hours=hours, gpus=2048, mfu=implied)
    plan = make_plan(budget, REFIT, Workload(parameters=PRESETS[name].num_parameters()))
    assert plan.num_tokens == pytest.approx(tokens)


def test_llama_3_8b_learned_far_more_than_is_optimal() -> None:
    plan = make_plan(Budget(gpus=1024), REFIT, Workload(parameters=PRESETS["8B"].num_parameters(), tokens=15e12))
    assert TOKENS_PER_PARAMETER * plan.num_parameters == pytest.approx(160e9, rel=0.01)
    assert plan.tokens_per_parameter == pytest.approx(1900, rel=0.02)
    least = REFIT.optimal_for(plan.predicted_loss)
    assert plan.overhead == pytest.approx(plan.num_parameters * plan.num_tokens / math.prod(least) - 1)
    assert plan.overhead > 1 and least[0] > 2 * plan.num_parameters  # the same loss would take a larger model


def test_llama_3s_own_optimum_is_between_the_laws() -> None:
    """402B on 16.55T tokens were chosen for 3.8e25 FLOPs; Hoffmann's printed law says less, its refit more."""
    sizes = [make_plan(Budget(flops=3.8e25, gpus=16384), law).num_parameters for law in (CHINCHILLA, REFIT)]
    assert sizes[0] < 402e9 < sizes[1]


BUDGETS = st.one_of(
    *(
        st.floats(low, high).map(lambda power, kind=kind: {kind: 10**power})  # type: ignore[misc]
        for kind, low, high in (("gpu_hours", 2, 6), ("dollars", 2, 6), ("days", -1, 2), ("flops", 18, 24))
    )
)
COUNTS = st.sampled_from(["6nd", "causal", "full"])


@settings(max_examples=40)
@given(
    BUDGETS, COUNTS, st.floats(0.1, 0.6), st.sampled_from([8, 64]), st.floats(0.1, 9), st.sampled_from([0.0, 1e9, 1e12])
)
def test_planned_is_spent_and_units_agree(
    given: dict[str, float], count: str, mfu: float, gpus: int, price: float, served: float
) -> None:
    budget = Budget(**given, gpus=gpus, mfu=mfu, price=price)  # type: ignore[arg-type]
    work = Workload(count=count, sequence=4096, batch_tokens=4e6, demand=Demand(serve_tokens=served))
    try:
        plan = make_plan(budget, REFIT, work)
    except ConfigError:  # too little or too much for 1M to 1T parameters on so many devices: told, and tested below
        return
    peak = H100.peak("bf16")
    total, hours = plan.flops + plan.serve_flops, plan.gpu_hours + plan.serve_gpu_hours
    assert plan.flops == pytest.approx(plan.num_tokens * training_flops(plan.config, 4096, count))
    assert plan.serve_flops == pytest.approx(served * forward_flops(plan.config, 4096, count))
    spent = {
        "flops": total,
        "gpu_hours": hours,
        "dollars": plan.dollars + plan.serve_dollars,
        "days": hours / gpus / 24,
    }
    kind, amount = next(iter(given.items()))
    assert spent[kind] == pytest.approx(amount, rel=1e-6)
    assert plan.seconds == pytest.approx(plan.flops / (peak * mfu * gpus))
    assert plan.gpu_hours == pytest.approx(plan.seconds * gpus / 3600)
    assert plan.dollars == pytest.approx(plan.gpu_hours * price)
    assert plan.num_steps == math.ceil(plan.num_tokens / plan.batch_tokens)
    assert plan.num_parameters == plan.config.num_parameters() and plan.gpus == plan.layout.split.gpus == gpus
    assert plan.memory_per_device_bytes <= H100.memory_bytes
    if not served:
        assert plan.predicted_loss >= plan.optimal_loss - 1e-12


@settings(max_examples=25)
@given(st.floats(19, 24), st.floats(1.05, 100), st.sampled_from([math.inf, 1e10, 1e12]), st.sampled_from([0.0, 1e11]))
def test_more_budget_never_raises_the_loss(power: float, more: float, unique: float, served: float) -> None:
    work = Workload(demand=Demand(serve_tokens=served, unique_tokens=unique))
    losses = []
    for flops in (10**power, 10**power * more):
        try:
            losses.append(make_plan(Budget(flops=flops, gpus=512, mfu=0.4), REFIT, work).predicted_loss)
        except ConfigError:
            return
    assert losses[1] < losses[0]


@settings(max_examples=20)
@given(st.floats(2.05, 2.8), st.sampled_from([math.inf, 1e11]), st.sampled_from([0.0, 1e12]))
def test_a_wanted_loss_is_reached_exactly(loss: float, unique: float, served: float) -> None:
    work = Workload(demand=Demand(serve_tokens=served, unique_tokens=unique))
    plan = make_plan(Budget(loss=loss, mfu=0.4), REFIT, work)
    assert plan.predicted_loss == pytest.approx(loss, abs=1e-9)
    assert plan.num_tokens <= 4 * unique * (1 + 1e-9)
    if unique == math.inf and not served:
        assert plan.flops == pytest.approx(6 * math.prod(REFIT.optimal_for(loss)), rel=2e-3)


def test_held_parameters_or_tokens() -> None:
    budget = Budget(flops=1e22, gpus=8, mfu=0.4)
    small = make_plan(budget, REFIT, Workload(parameters=1.2358144e9))
    assert small.config.dim == 2048 and small.num_tokens == pytest.approx(1e22 / 6 / small.num_parameters)
    text = make_plan(budget, REFIT, Workload(tokens=1e12))
    assert text.num_tokens == pytest.approx(1e12, rel=0.05) and text.flops == pytest.approx(1e22)
    reached = make_plan(Budget(loss=2.2, gpus=8), REFIT, Workload(tokens=1e12))
    assert reached.num_tokens == pytest.approx(1e12, rel=0.1) and reached.predicted_loss == pytest.approx(2.2)


def test_without_an_mfu_hours_and_layout_agree() -> None:
    plan = make_plan(Budget(gpu_hours=1e5, gpus=64), REFIT)
    estimated = plan.layout.mfu(plan.config, H100, 8192)
    assert plan.mfu == pytest.approx(estimated, rel=0.02)
    assert plan.flops == pytest.approx(1e5 * 3600 * H100.peak("bf16") * plan.mfu)
    steps_per_second = plan.layout.tokens_per_second / plan.batch_tokens
    assert plan.seconds == pytest.approx(plan.num_steps / steps_per_second, rel=0.02)


def test_deepseeks_batch_and_rate_and_ones_own() -> None:
    plan = make_plan(Budget(flops=1e21, gpus=8), REFIT)
    assert plan.lr == pytest.approx(0.3118 * 1e21**-0.1250)
    assert plan.batch_tokens == pytest.approx(0.2920 * 1e21**0.3271, rel=0.05)
    own = make_plan(Budget(flops=1e21, gpus=8), REFIT, Workload(lr=1e-3, batch_tokens=2**20))
    assert own.lr == 1e-3 and own.batch_tokens == 2**20


def test_the_interval_is_of_the_bootstrap_laws() -> None:
    laws = [dataclasses.replace(REFIT, floor=1.8 + 0.001 * i) for i in range(101)]
    plan = make_plan(Budget(flops=1e21, gpus=8), REFIT, bootstrap=laws)
    shift = plan.predicted_loss - REFIT.floor
    assert plan.predicted_interval == pytest.approx((1.8025 + shift, 1.8975 + shift))
    assert make_plan(Budget(flops=1e21, gpus=8), REFIT).predicted_interval is None


def test_ten_times_the_text() -> None:
    work = Workload(demand=Demand(unique_tokens=1e11))
    plan = make_plan(Budget(flops=1e22, gpus=64), REFIT, work)
    more = REFIT.loss(plan.num_parameters, Demand(unique_tokens=1e12).effective(10 * plan.num_tokens))
    assert plan.loss_with_ten_times["text"] == pytest.approx(more) and more < plan.predicted_loss
    assert plan.loss_with_ten_times["compute"] == pytest.approx(REFIT.loss(*REFIT.optimal(10 * plan.flops)))


def test_a_machine_of_cores() -> None:
    measured = {"cores": 2, "float32_gflops": 130.0, "copy_gb_per_s": 20.0, "memory_gib": 16.0}
    plan = make_plan(Budget(days=2, gpus=1, device=this_machine(measured)), CHINCHILLA, Workload(sequence=512))
    assert plan.gpus == 1 and plan.dollars == 0 and plan.layout.recompute == "none"
    assert plan.gpu_hours == pytest.approx(48) and 1e6 < plan.num_parameters < 1e8


def _error(budget: dict[str, object], work: dict[str, object], law: LossLaw = REFIT) -> str:
    with pytest.raises(ConfigError) as told:
        make_plan(Budget(**budget), law, Workload(**work))  # type: ignore[arg-type]
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("budget", "work", "message"),
    [
        (
            {},
            {},
            "budget: expected one of gpu_hours, dollars, days, flops, loss, or both parameters and tokens, came none",
        ),
        ({}, {"tokens": 1e9}, "came tokens alone"),
        ({"flops": 1e20, "dollars": 9.0}, {}, "expected one of .*, came dollars and flops"),
        ({"flops": 1e20}, {"tokens": 1e9, "parameters": 1e9}, "came all: leave one"),
        ({"flops": -1.0}, {}, "flops: expected a number above 0, came -1.0"),
        ({"gpu_hours": 0.0}, {}, "gpu_hours: expected a number above 0"),
        ({"dollars": math.nan}, {}, "dollars: expected a number above 0"),
        ({"days": 3.0}, {}, "days: expected gpus as well"),
        ({"days": math.inf, "gpus": 8}, {}, "days: expected a number above 0"),
        ({"flops": 1e20, "gpus": 0}, {}, "gpus: expected a number above 0"),
        ({"flops": 1e20, "mfu": 1.2}, {}, "mfu: expected a share of the peak, at most 1, came 1.2"),
        ({"flops": 1e20, "price": -1.0}, {}, "price: expected 0 or more"),
        ({"dollars": 10.0, "price": 0.0}, {}, "dollars: expected a price above 0 an hour"),
        ({"flops": 1e20}, {"sequence": 0}, "sequence: expected a number above 0"),
        ({"flops": 1e20}, {"count": "5nd"}, "count: expected"),
        ({"flops": 1e20}, {"optimizer": "sgd"}, "optimizer: expected adamw, muon"),
        ({"flops": 1e13}, {}, "flops: expected what is best spent on 1M to 1T parameters, came what is for 220K"),
        ({"loss": 1.83}, {}, "loss: expected what is best spent on 1M to 1T parameters, came what is for 97.9T"),
        ({"loss": 1.8}, {}, "expected above 1.8172"),
        ({"loss": 2.0}, {"tokens": 2e10}, "20.0B tokens, 20.0B of them unique, reach 2.1729 at best, came 2.0000"),
        ({"loss": 2.0}, {"parameters": 1e9}, "parameters reach 2.1750 at best .* takes more than 6.86B"),
        ({"flops": 3.8e25, "gpus": 8}, {}, "gpus: .* parameters need at least"),
        (
            {"flops": 1e22},
            {"parameters": 1e9, "demand": Demand(serve_tokens=1e13)},
            "serving 10.0T tokens with .* takes all of the budget",
        ),
        (
            {"flops": 1e22},
            {"parameters": 1e9, "demand": Demand(unique_tokens=1e10)},
            "unique_tokens: the plan is for 1.68T tokens with .*, more than 4 times 10.0B, 40.0B",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_line(budget: dict[str, object], work: dict[str, object], message: str) -> None:
    import re

    assert re.search(message, _error(budget, work))


def test_a_plan_is_plain() -> None:
    names = {one.name for one in dataclasses.fields(Plan)}
    assert {"num_parameters", "num_tokens", "flops", "gpu_hours", "memory_per_device_bytes", "predicted_loss"} <= names
