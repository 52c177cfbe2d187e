"""What `puna curate --sweep` and `--why ID` print."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_SHOWN_CHARS = 400
_SHOWN_COPIES = 5


def show_sweep(folder: Path, as_json: bool = False) -> None:
    """The thresholds that dropped something, and the words that relaxing each would keep."""
    from puna.curate.sweep import STEPS, sweep

    sweeps = sweep(folder)
    if as_json:
        print(json.dumps([_sweep_row(one) for one in sweeps], ensure_ascii=False))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("threshold", overflow="fold")
    for name in ("documents", "words", *(f"by {step:.0%}" for step in STEPS), "off"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in sweeps:
        limit = f"{one.rule}:\n  {one.setting} {'>=' if one.is_least else '<='} {one.limit:g}"
        kept = [f"{words:,}" if words else "-" for _, words in map(one.kept_at, (*STEPS, None))]
        table.add_row(limit, f"{one.documents:,}", f"{one.words:,}", *kept)
    console = Console()
    console.print(table)
    console.print(
        "What each threshold dropped, and the words that come back if it is relaxed by a share of itself, or off: of "
        "documents that no other check stands against. Copies among them are not looked for.",
        style="dim",
    )


def show_story(folder: Path, wanted: str, as_json: bool = False) -> None:
    """The story of one document."""
    from puna.curate.why import tell

    story = tell(folder, wanted)
    if as_json:
        checks = [{"rule": rule, **_finite(check._asdict()), "failed": check.failed} for rule, check in story.checks]
        print(json.dumps({**dataclasses.asdict(story), "checks": checks}, ensure_ascii=False))
        return
    console, row = Console(highlight=False), story.row
    reason = f" by {story.rule}" if story.rule else ""
    console.print(f"[bold]{story.fate}{reason}[/]")
    for name in ("id", "url", "source", "lang", "date"):
        if row.get(name):
            console.print(f"{name:7} {row[name]}", markup=False, soft_wrap=True)
    if story.twin is not None:
        console.print(f"twin    {story.twin['id']} {story.twin['url']} stays for it", markup=False, soft_wrap=True)
    if story.copies:
        console.print(f"copies  {len(story.copies)} were dropped for it:")
        for copy in story.copies[:_SHOWN_COPIES]:
            console.print(f"        {copy['id']} {copy['url']} ({copy['rule']})", markup=False, soft_wrap=True)
    if story.checks:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("threshold", "value", "limit", ""):
            table.add_column(name, justify="right" if name in ("value", "limit") else "left", overflow="fold")
        for number, (rule, check) in enumerate(story.checks):
            if not number or story.checks[number - 1][0] != rule:
                table.add_row(f"{rule}:", "", "", "")
            verdict = f"[red]{check.reason}[/]" if check.failed else ""
            table.add_row(f"  {check.setting}", f"{check.value:.4g}", _limit(check.least, check.most), verdict)
        console.print(table)
    if story.unusual:
        words = ", ".join(f"{word} ({count}x, {nats:.2f})" for word, count, nats in story.unusual)
        console.print(f"furthest from the corpus (nats of the divergence): {words}", markup=False)
    text = row["text"]
    console.print(text[:_SHOWN_CHARS] + (" ..." if len(text) > _SHOWN_CHARS else ""), markup=False, soft_wrap=True)


def _limit(least: float, most: float) -> str:
    return f">= {least:g}" if math.isinf(most) else f"<= {most:g}"


def _sweep_row(one: Any) -> dict[str, Any]:
    from puna.curate.sweep import STEPS

    names = {f"kept_at_{step}": step for step in STEPS} | {"kept_without": None}
    kept = {name: dict(zip(("documents", "words"), one.kept_at(step), strict=True)) for name, step in names.items()}
    fields = ("rule", "setting", "limit", "is_least", "documents", "words")
    return {name: getattr(one, name) for name in fields} | kept


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Without the limits that are none: JSON has no infinity."""
    return {name: value for name, value in values.items() if not (isinstance(value, float) and math.isinf(value))}
