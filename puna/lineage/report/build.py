"""Manifests of the finished stages -> report.json and report.html.

    build_report(manifests, recipe) -> the plain data of report.json
    write_report(report, manifests, folder) -> folder/report.html, with folder/report.json beside it

A manifest's `artifact` is the path of its folder relative to the folder the report is written to. Lineage knows no
stage: what a stage has to show it declares as panels (`panels.py` lists the kinds), and what it measured as scores.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from puna.base.files import write_atomic, write_json
from puna.lineage.report.page import render_page

FORMAT_VERSION = 1
SCORE_KEYS = ("task", "metric", "value", "ci95", "n", "headline", "settings")
STAGE_KEYS = ("kind", "seed", "started", "artifact", "inputs", "environment")


def build_report(manifests: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The data of report.json: totals, stages and scores in the order of the lap.

    Stages of the recipe without a manifest (failed, or not reached) are named under `missing`. Values that are not
    finite become null, because JSON has no word for them.
    """
    stages = [stage_entry(manifest) for manifest in manifests]
    done = {stage["name"] for stage in stages}
    scores = [
        {"stage": manifest["stage"], **{key: score.get(key) for key in SCORE_KEYS}}
        for manifest in manifests
        for score in manifest.get("scores") or ()
    ]
    for score in scores:
        score["headline"] = bool(score["headline"])
    report = {
        "format_version": FORMAT_VERSION,
        "recipe": dict(recipe),
        "started": min((stage["started"] for stage in stages if stage["started"]), default=None),
        "finished": max((finish for manifest in manifests if (finish := finish_time(manifest))), default=None),
        "total_seconds": sum(stage["seconds"] for stage in stages),
        "peak_memory_bytes": max((stage["peak_memory_bytes"] for stage in stages), default=0),
        "environment": dict(manifests[-1].get("environment") or {}) if manifests else {},
        "stages": stages,
        "missing": [name for name in recipe.get("stages") or () if name not in done],
        "scores": scores,
    }
    return finite(report)


def stage_entry(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What report.json keeps of one manifest."""
    return {
        "name": manifest["stage"],
        "seconds": manifest.get("seconds") or 0.0,
        "peak_memory_bytes": manifest.get("peak_memory_bytes") or 0,
        "fingerprint": manifest["fingerprint"],
        "metrics": dict(manifest.get("metrics") or {}),
        **{key: manifest.get(key) for key in STAGE_KEYS},
    }


def finish_time(manifest: Mapping[str, Any]) -> str | None:
    """ISO time at which a stage ended, or None if its manifest does not say when it began."""
    if not manifest.get("started"):
        return None
    started = datetime.fromisoformat(manifest["started"])
    return (started + timedelta(seconds=manifest.get("seconds") or 0.0)).isoformat(timespec="seconds")


def finite(value: Any) -> Any:
    """The same value with NaN and infinities replaced by None, tuples by lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_report(report: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write report.json, then report.html, each atomically; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", report)
    page = folder / "report.html"
    write_atomic(page, render_page(report, finite(list(manifests))).encode())
    return page
