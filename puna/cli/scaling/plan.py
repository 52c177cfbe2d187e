"""`puna scaling plan`: a budget or a wanted loss to a whole plan."""

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from puna.cli.options import JsonOption
from puna.cli.scaling.options import LawOption, PlotOption, check_plot, write_plot


def plan(
    gpu_hours: Annotated[str | None, typer.Option(help="Budget in hours of one device, e.g. 1.3M")] = None,
    dollars: Annotated[str | None, typer.Option(help="Budget in dollars, e.g. 100k")] = None,
    days: Annotated[str | None, typer.Option(help="Budget in days of --gpus devices")] = None,
    flops: Annotated[str | None, typer.Option(help="Budget in FLOPs, e.g. 3.8e25")] = None,
    loss: Annotated[float | None, typer.Option(help="Instead of a budget, the loss to reach, nats a token")] = None,
    parameters: Annotated[str | None, typer.Option(help="Hold the parameters, e.g. 8B")] = None,
    tokens: Annotated[str | None, typer.Option(help="Hold the tokens learned, e.g. 15T")] = None,
    gpus: Annotated[int | None, typer.Option(help="Devices (default: the fewest that hold the training)")] = None,
    device: Annotated[
        str, typer.Option(help="A100-80G, H100-SXM, H200, B200, L40S, RTX-4090, MI300X; this: these cores, measured")
    ] = "H100-SXM",
    mfu: Annotated[float | None, typer.Option(help="Share of the peak that is used (default: estimated)")] = None,
    price: Annotated[float | None, typer.Option(help="Dollars an hour of one device (default: a typical one)")] = None,
    serve_tokens: Annotated[str | None, typer.Option(help="Tokens to serve later, paid from the budget too")] = None,
    unique_tokens: Annotated[str | None, typer.Option(help="Tokens of text there are (default: endless)")] = None,
    max_epochs: Annotated[float, typer.Option(help="Times that a text is learned at most")] = 4.0,
    sequence: Annotated[int, typer.Option(help="Tokens of a sequence")] = 8192,
    vocab_size: Annotated[int | None, typer.Option(help="Tokens of the vocabulary (default: by size)")] = None,
    batch_tokens: Annotated[str | None, typer.Option(help="Tokens of a step (default: DeepSeek's law)")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate (default: DeepSeek's law)")] = None,
    optimizer: Annotated[str, typer.Option(help="adamw or muon")] = "adamw",
    count: Annotated[str, typer.Option(help="FLOPs: 6nd, or with attention: causal, full (PaLM's)")] = "6nd",
    law: LawOption = "chinchilla",
    plot: PlotOption = None,
    json_: JsonOption = False,
) -> None:
    """Plan a pretraining run: parameters, tokens, shape, layout, memory, time, price and predicted loss.

    Example: puna scaling plan --dollars 100k --gpus 64 --unique-tokens 500B --plot plan.svg
    """
    from puna.scaling.devices import find_device
    from puna.scaling.law_file import read_law
    from puna.scaling.optimum import Demand
    from puna.scaling.plan import Budget, Workload, make_plan

    check_plot(plot)
    known = read_law(law)
    given = {"gpu_hours": gpu_hours, "dollars": dollars, "days": days, "flops": flops}
    budget = Budget(
        **{name: _number(name, text) for name, text in given.items()},
        loss=loss,
        gpus=gpus,
        device=find_device(device),
        mfu=mfu,
        price=price,
    )
    unique = _number("unique_tokens", unique_tokens)
    demand = Demand(
        serve_tokens=_number("serve_tokens", serve_tokens) or 0.0,
        max_epochs=max_epochs,
        **({} if unique is None else {"unique_tokens": unique}),
    )
    work = Workload(
        parameters=_number("parameters", parameters),
        tokens=_number("tokens", tokens),
        demand=demand,
        sequence=sequence,
        vocab_size=vocab_size,
        count=count,
        optimizer=optimizer,
        lr=lr,
        batch_tokens=_number("batch_tokens", batch_tokens),
    )
    made = make_plan(budget, known.law, work, known.resamples)
    if plot:
        from puna.scaling.chart import plan_plane

        write_plot(plot, plan_plane(known.law, made))
    if json_:
        print(json.dumps(_plan_json(made)))
        return
    _print_plan(made, law)


def _number(name: str, text: str | None) -> float | None:
    from puna.scaling.numbers import read_quantity

    return None if text is None else read_quantity(f"--{name.replace('_', '-')}", text)


def _plan_json(made: Any) -> dict[str, Any]:
    values = dataclasses.asdict(made)
    values["tokens_per_parameter"] = made.tokens_per_parameter
    values["layout"]["name"] = str(made.layout)
    return values


def _print_plan(made: Any, law: str) -> None:
    from puna.scaling.numbers import short
    from puna.scaling.plan import TOKENS_PER_PARAMETER

    config = made.config
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()

    def row(name: str, *values: str) -> None:
        table.add_row(name, "   ".join(value for value in values if value))

    head = f"heads {config.heads}/{config.kv_heads}, feed-forward {config.ffn_dim:,}, vocabulary {config.vocab_size:,}"
    epochs = f"{made.epochs:.2f} epochs" if made.epochs > 1 else ""
    rule = f"{TOKENS_PER_PARAMETER:.0f} a parameter are {short(TOKENS_PER_PARAMETER * made.num_parameters)}"
    row("parameters", short(made.num_parameters), f"width {config.dim:,}, layers {config.layers}, {head}")
    row("tokens", short(made.num_tokens), f"{made.tokens_per_parameter:,.1f} a parameter; {rule}", epochs)
    row("FLOPs", short(made.flops), f"counted {made.count}")
    row("batch", f"{short(made.batch_tokens)} tokens", f"{made.num_steps:,} steps, peak learning rate {made.lr:.2e}")
    row("layout", str(made.layout), f"{made.gpus:,} {made.device}, MFU {made.mfu:.1%}")
    memory = made.layout.memory
    parts = [f"{name} {getattr(memory, name) / 1e9:.3g}" for name in ("weights", "gradients", "optimizer")]
    parts += [f"{name} {getattr(memory, name) / 1e9:.3g}" for name in ("activations", "logits")]
    row("memory", f"{made.memory_per_device_bytes / 1e9:.3g} GB a device", ", ".join(parts))
    row("time", f"{_duration(made.seconds)}", f"{short(made.gpu_hours)} GPU-hours", _dollars(made.dollars))
    if made.serve_flops:
        serving = f"{short(made.serve_gpu_hours)} GPU-hours"
        row("serving", short(made.serve_flops) + " FLOPs", serving, _dollars(made.serve_dollars))
    row(
        "kept",
        f"{made.checkpoint_bytes / 1e9:.3g} GB a checkpoint",
        f"{short(made.kv_cache_bytes)}B of KV cache a token",
    )
    interval = made.predicted_interval and "{:.4f} to {:.4f}".format(*made.predicted_interval)
    row("predicted loss", f"{made.predicted_loss:.4f} nats a token", interval or "", f"law {law}")
    best = f"{short(made.optimal_parameters)} parameters, {short(made.optimal_tokens)} tokens"
    row("best of these FLOPs", f"{made.optimal_loss:.4f}", best, f"overhead for this loss {made.overhead:.1%}")
    for name, roads in (("smaller, more data", made.smaller_models), ("less data, larger", made.larger_models)):
        shown = [f"{short(one.parameters)} x {short(one.tokens)} +{one.overhead:.0%}" for one in roads]
        row(name, *shown)
    ten = made.loss_with_ten_times
    row("ten times", f"the text {ten['text']:.4f}", f"the FLOPs, best spent {ten['compute']:.4f}")
    Console(highlight=False).print(table)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _dollars(value: float) -> str:
    from puna.scaling.numbers import short

    return f"${short(value)}" if value else ""
