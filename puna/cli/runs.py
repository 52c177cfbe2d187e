"""Verbs on a run's folder: its `status`, its `report`, `compare` it with others, `gc` what it no longer uses."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from puna.cli.options import JsonOption, RunArgument
from puna.lineage.runner import rebuild_report
from puna.lineage.status import reports_of, run_recipe_of, status_rows, status_table
from puna.lineage.store import collect_garbage


def status(run: RunArgument, json_: JsonOption = False) -> None:
    """Show what is finished, running and missing in a run.

    Example: puna status runs/nano
    """
    rows = status_rows(run)
    if json_:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        Console().print(status_table(rows))


def report(run: RunArgument, json_: JsonOption = False) -> None:
    """Write a run's report.html and report.json anew and show the report card.

    Example: puna report runs/nano
    """
    run_recipe_of(run)
    made, path = rebuild_report(run)
    if json_:
        print(json.dumps(made, ensure_ascii=False))
    else:
        show_card(made, path)


def compare(
    run_a: RunArgument,
    run_b: Annotated[
        Path | None, typer.Argument(help="The run to compare with; without it, RUN_A's replicas are summed up")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare two runs, or the replicas of one, score by score with 95% intervals.

    Example: puna compare runs/nano runs/other-lr
    """
    first, second = reports_of(run_a), reports_of(run_b) if run_b else None
    show_comparison(first, second, as_json=json_)


def gc(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; otherwise only list")] = False,
) -> None:
    """List, or with --yes remove, artifacts that no link of the run refers to.

    Example: puna gc runs/nano --yes
    """
    run_recipe_of(run)
    found = collect_garbage(run, remove=yes)
    for path, size in found:
        print(f"{size / 2**20:10.1f} MiB  {path}")
    total = sum(size for _, size in found) / 2**20
    print(
        f"{'Removed' if yes else 'Unused'}: {len(found)} folders, {total:.1f} MiB"
        + ("" if yes or not found else " (--yes removes them)")
    )


def show_card(report: dict[str, Any], path: Path) -> None:
    from puna.lineage.report import report_card

    console = Console()
    console.print(report_card(report))
    console.print(f"Report: {path}", soft_wrap=True)


def show_comparison(first: list[dict[str, Any]], second: list[dict[str, Any]] | None, as_json: bool = False) -> None:
    from puna.lineage.report import compare_runs, comparison_table

    compared = compare_runs(first, second or [])
    if as_json:
        print(json.dumps(compared, ensure_ascii=False))
    else:
        Console().print(comparison_table(compared))
