"""What is done, running and missing in a run folder, seen from outside the process that runs it."""

from pathlib import Path
from typing import Any

from rich.table import Table

from puna.base.config import did_you_mean
from puna.base.errors import DataError
from puna.base.files import read_json
from puna.lineage.live import clock, key_metrics
from puna.lineage.runner import last_manifests
from puna.lineage.store import heartbeats


def run_recipe_of(run: Path) -> dict[str, Any]:
    """The recipe that a run folder was last run with. Raises DataError if it is no run folder."""
    if not (run / "recipe.json").is_file():
        near = did_you_mean(run.name, (path.name for path in run.parent.glob("*") if path.is_dir()))
        raise DataError(f"expected a run folder at {run}, found none{near}; `puna run RECIPE` makes one")
    return read_json(run / "recipe.json")  # type: ignore[no-any-return]


def reports_of(run: Path) -> list[dict[str, Any]]:
    """The reports of a run's replicas, or its own. Raises DataError if there is none."""
    paths = sorted(run.glob("seed-*/report.json")) or [run / "report.json"]
    if not paths[0].is_file():
        raise DataError(f"expected a finished run at {run}, found no report.json; `puna run` or `puna report` it first")
    return [read_json(path) for path in paths]


def status_rows(run: Path) -> list[dict[str, Any]]:
    """For each stage: `stage`, `state` (done, running 40%, stopped 40%, missing), `seconds`, memory, `metrics`."""
    recipe = run_recipe_of(run)
    manifests = {manifest["stage"]: manifest for manifest in last_manifests(run)}
    root = run if (run / "artifacts").is_dir() else run.parent  # a replica's artifacts lie beside it
    beats = {name.rpartition("-")[0]: beat for name, beat in heartbeats(root).items()}
    return [_row(name, manifests.get(name), beats.get(name)) for name in recipe["stages"]]


def status_table(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table for the terminal."""
    table = Table("stage", "state", "time", "memory", "key figures", box=None, header_style="dim")
    for row in rows:
        seconds = clock(row["seconds"]) if row["seconds"] else ""
        memory = f"{row['peak_memory_bytes'] / 2**20:.0f} MiB" if row["peak_memory_bytes"] else ""
        figures = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row["metrics"].items())
        table.add_row(row["stage"], row["state"], seconds, memory, figures)
    return table


def _row(name: str, manifest: dict[str, Any] | None, beat: dict[str, Any] | None) -> dict[str, Any]:
    row = {"stage": name, "state": "missing", "seconds": 0.0, "peak_memory_bytes": 0, "metrics": {}}
    if beat and (beat["running"] or manifest is None):
        share = f" {100 * beat['done'] / beat['total']:.0f}%" if beat.get("total") else ""
        state = ("running" if beat["running"] else "stopped") + share
        return row | {"state": state, "seconds": beat["seconds"], "metrics": beat.get("metrics", {})}
    if manifest is None:
        return row
    kept = {key: manifest[key] for key in ("seconds", "peak_memory_bytes")}
    return row | {"state": "done", **kept, "metrics": key_metrics(manifest)}
