"""The verb on this machine: `doctor`."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from puna.cli.options import JsonOption


def doctor(json_: JsonOption = False) -> None:
    """Measure what this machine can do, torch.compile included (half a minute).

    Example: puna doctor
    """
    from puna.base.doctor import examine
    from puna.parallel.preflight import judge, measure
    from puna.pretrain.computing import compile_gain

    bad = [one.line() for one in judge([measure(Path.cwd())]) if not one.is_good]
    found = {**examine(), **_compiling(compile_gain()), "preflight": "; ".join(bad) or "fit to train"}
    if json_:
        print(json.dumps(found))
        return
    table = Table("what", "found", box=None, header_style="dim")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


def _compiling(gain: dict[str, float]) -> dict[str, float | str]:
    """What compiling layers is worth here, and from what length of a run on."""
    if not gain:
        return {"compiled_training": "not possible: no C++ compiler"}
    faster, costs = gain["gain"], gain["compile_s"]
    found: dict[str, float | str] = {"compiled_training_gain": round(faster, 2), "compile_s": round(costs, 1)}
    if faster <= 1.0:
        return {**found, "compiled_training": "does not pay"}
    return {**found, "compiled_training": f"pays in runs of more than {costs / (1 - 1 / faster) / 60:.0f} minutes"}
