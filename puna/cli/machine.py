"""The verb on this machine: `doctor`."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from puna.cli.options import JsonOption


def doctor(json_: JsonOption = False) -> None:
    """Measure what this machine can do.

    Example: puna doctor
    """
    from puna.base.doctor import examine
    from puna.parallel.preflight import judge, measure

    bad = [one.line() for one in judge([measure(Path.cwd())]) if not one.is_good]
    found = {**examine(), "preflight": "; ".join(bad) or "fit to train"}
    if json_:
        print(json.dumps(found))
        return
    table = Table("what", "found", box=None, header_style="dim")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)
