"""What a person sees while a recipe runs: a live table in a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from puna.base.output import Progress
from puna.lineage.report.formats import format_score
from puna.lineage.runner import Planned, Watcher

_PLAIN_INTERVAL_S = 10.0
_BAR_WIDTH, _TIME_WIDTH = 12, 16
_FEWEST_ROWS = 3  # folded stages above and below, and the running one between them


def make_watcher(console: Console | None = None) -> "LiveView | PlainView":
    """The live table if standard error is a terminal, plain lines otherwise."""
    console = console or Console(stderr=True)
    return LiveView(console) if console.is_terminal else PlainView()


class PlainView(Watcher):
    """One line when a stage starts, every ten seconds, and when it ends."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def planned(self, stages: list[Planned]) -> None:
        """Say how much there is to do."""
        waiting = sum(not stage.reused for stage in stages)
        _say(f"{len(stages)} stages, {waiting} to run")

    def started(self, stage: Planned) -> None:
        """A stage begins."""
        self._started = self._told = time.monotonic()
        _say(f"{stage.name}: started ({'; '.join(stage.reasons[:3])})")

    def progressed(self, stage: Planned, look: Progress) -> None:
        """A stage went on."""
        if time.monotonic() - self._told >= _PLAIN_INTERVAL_S:
            self._told = time.monotonic()
            _say(f"{stage.name}: {_amount(look)} {_metrics(look.metrics)}".rstrip())

    def finished(self, stage: Planned, manifest: dict[str, Any]) -> None:
        """A stage is finished, or was reused."""
        how = "reused" if stage.reused else f"done in {manifest['seconds']:.1f} s"
        _say(f"{stage.name}: {how} {_metrics(key_metrics(manifest))}".rstrip())


class LiveView(Watcher):
    """All stages with bar, rate, time left and key metric, redrawn four times a second."""

    def __init__(self, console: Console) -> None:
        self._rows: dict[str, _Row] = {}
        self._ended = False
        self._live = Live(self, console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> "LiveView":
        self._live.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        for row in self._rows.values():
            if row.state == "running":
                row.state = "stopped"
        self._ended = True
        self._live.__exit__(kind, error, trace)

    def planned(self, stages: list[Planned]) -> None:
        """List the stages."""
        self._rows |= {stage.name: _Row(stage.name) for stage in stages}
        for name in [name for name in self._rows if name not in {stage.name for stage in stages}]:
            del self._rows[name]

    def started(self, stage: Planned) -> None:
        """A stage begins."""
        self._rows[stage.name].start()

    def progressed(self, stage: Planned, look: Progress) -> None:
        """A stage went on."""
        self._rows[stage.name].look = look

    def finished(self, stage: Planned, manifest: dict[str, Any]) -> None:
        """A stage is finished, or was reused."""
        row = self._rows[stage.name]
        row.state = "reused" if stage.reused else "done"
        row.seconds, row.metrics = manifest["seconds"], key_metrics(manifest)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = list(self._rows.values())
        # What has ended stays on the screen and may scroll; what is redrawn must fit on it, with the cursor's line.
        shown = rows if self._ended else fold(rows, options.size.height - 1)
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(min_width=1, max_width=1)
        longest = max((len(row.name) for row in [*rows, *shown]), default=1)
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=min(longest, options.max_width // 3))
        table.add_column(min_width=_BAR_WIDTH, max_width=_BAR_WIDTH)
        table.add_column(justify="right", no_wrap=True, min_width=_TIME_WIDTH)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in shown:
            table.add_row(*row.cells())
        yield table


def fold(rows: "Sequence[_Row | _Fold]", height: int) -> "list[_Row | _Fold]":
    """At most `height` rows (three at least): finished stages at the top become one line, then waiting ones below.

    The running stage is always among them, and as many of its neighbours as there is room for.
    """
    height = max(height, _FEWEST_ROWS)
    kept: list[_Row | _Fold] = list(rows)
    finished = next((i for i, row in enumerate(kept) if row.state not in ("done", "reused")), len(kept))
    over = len(kept) - height
    if over > 0 and finished > 1:
        folded = min(finished, over + 1)
        kept = [_Fold(kept[:folded]), *kept[folded:]]
    over = len(kept) - height
    if over > 0:
        kept = [*kept[: -over - 1], _Fold(kept[-over - 1 :])]
    return kept


class _Fold:
    """Several stages of the live view in one line: `✓ 9 stages done  3:05`."""

    def __init__(self, rows: "Sequence[_Row | _Fold]") -> None:
        self.state: str = "done" if rows[0].state in ("done", "reused") else "waiting"
        reused = sum(row.state == "reused" for row in rows)
        self.seconds: float = sum(row.seconds for row in rows if row.state == "done")
        if self.state == "waiting":
            self.name = f"{len(rows)} more stages"
        else:
            self.name = f"{len(rows)} stages {'reused' if reused == len(rows) else 'done'}"
        self._note = f"{reused} reused" if 0 < reused < len(rows) else ""

    def cells(self) -> tuple[Any, ...]:
        if self.state == "waiting":
            return Text("·", "dim"), Text(self.name, "dim"), "", "", ""
        when = clock(self.seconds) if self.seconds else ""
        return Text("✓", "green"), self.name, "", Text(when, "dim"), Text(self._note, "dim")


class _Row:
    """One stage of the live view."""

    def __init__(self, name: str) -> None:
        self.name, self.state = name, "waiting"
        self.look: Progress | None = None
        self.seconds = 0.0
        self.metrics: dict[str, float | str] = {}
        self._started = time.monotonic()
        self._spinner = Spinner("dots", style="cyan")

    def start(self) -> None:
        self.state, self._started = "running", time.monotonic()

    def cells(self) -> tuple[Any, ...]:
        if self.state == "running":
            share = self.look.done / self.look.total if self.look and self.look.total else 0.0
            bar = ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH, pulse=not share)
            return self._spinner, Text(self.name, "bold"), bar, self._timing(share), self._doing()
        if self.state in ("done", "reused"):
            mark = Text("✓", "green" if self.state == "done" else "dim green")
            when = clock(self.seconds) if self.state == "done" else "reused"
            return mark, self.name, "", Text(when, "dim"), Text(_metrics(self.metrics), "dim")
        sign, style = ("✗", "red") if self.state == "stopped" else ("·", "dim")
        return Text(sign, style), Text(self.name, style), "", "", ""

    def _timing(self, share: float) -> Text:
        seconds = time.monotonic() - self._started
        left = f", {clock(seconds / share - seconds)} left" if share > 0.02 else ""
        return Text(f"{clock(seconds)}{left}", "dim")

    def _doing(self) -> Text:
        if not self.look:
            return Text("")
        return Text(f"{_amount(self.look)}  {_metrics(self.look.metrics)}")


def key_metrics(manifest: dict[str, Any]) -> dict[str, float | str]:
    """The few numbers of a finished stage worth a line: its headline scores, otherwise its first metrics."""
    headline = [score for score in manifest["scores"] if score["headline"]]
    scores = [score for score in headline if "/" not in score["metric"] and "@" not in score["metric"]]
    if scores:
        return {score["task"]: format_score(score["metric"], score["value"]) for score in scores}
    return dict(list(manifest["metrics"].items())[:4])


def clock(seconds: float) -> str:
    """Seconds as 7 s, 3:05 or 2:03:04."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _amount(look: Progress) -> str:
    return f"{look.done:,.0f}/{look.total:,.0f} {look.unit}".rstrip()


def _metrics(metrics: dict[str, float | str]) -> str:
    return "  ".join(f"{name} {_number(value)}" for name, value in metrics.items())


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
