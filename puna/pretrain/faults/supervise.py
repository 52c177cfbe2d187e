"""Training under a supervisor: this process watches, the ranks train.

run -> supervise -> launch (puna/parallel) -> rank 0 .. R-1 -> the stage's own function on the same output
"""

import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from puna.base.config import Config
from puna.base.errors import MachineError
from puna.base.output import Inputs, Progress, Share, StageOutput
from puna.base.ranks import is_rank
from puna.parallel.heartbeat import Heartbeats
from puna.parallel.launch import Event, launch
from puna.parallel.preflight import fit_slots, judge, measure
from puna.parallel.watchdog import Limits
from puna.pretrain.faults.policy import INCIDENTS, Action, FaultConfig, Incident, append_incident

WATCH = "watch"
"""Of a stage's state: what ranks and supervisor tell each other, and what hung ranks left."""
_TELL_S = 0.1


def is_supervised(faults: FaultConfig, out: StageOutput) -> bool:
    """Whether this process should supervise: asked to, or several are to train, and torchrun did not start this one."""
    return not is_rank() and (faults.supervised or out.mesh.world_size > 1)


def supervise(
    function: str,
    config: Config,
    faults: FaultConfig,
    inputs: Inputs,
    out: StageOutput,
    limits: Limits = Limits(),
    started: Callable[[Heartbeats, dict[int, int]], None] = lambda beats, pids: None,
    on_event: Callable[[Event], None] = lambda event: None,
    given: Mapping[str, Any] = {},
) -> None:
    """Run a stage's `function` ("module:name") on every rank of `out.mesh`, and take over what it made.

    It is called with config, inputs and output, and with what else is `given` by name.

    What goes wrong is added to the incidents. Before each start the machine is checked. Raises what a rank raised,
    RunError if ranks fail again and again, MachineError if the machine is not fit.
    """

    def slots() -> list[int]:
        for check in judge([measure(out.state)]):
            if not check.is_good:
                raise MachineError(f"this machine is not fit to go on: {check.line()}")
        return fit_slots(out.mesh.world_size + faults.spares, out.mesh.world_size, out.state)

    def tell(look: Progress) -> None:
        out.progress(look.done, look.total, look.unit, **look.metrics)

    def record(event: Event) -> None:
        append_incident(out.state / INCIDENTS, incident_of(event, out.attempt))
        on_event(event)

    arguments = (function, config, inputs, out.share(), dict(given))
    result = launch(
        "puna.pretrain.faults.supervise:rank",
        arguments,
        out.mesh.world_size,
        out.state / WATCH,
        on_message=tell,
        on_event=record,
        limits=limits,
        started=started,
        preload=(function.partition(":")[0],),
        slots=slots,
    )
    out.take(result)


def rank(
    send: Callable[[Any], None],
    function: str,
    config: Config,
    inputs: Inputs,
    share: Share,
    given: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """What a rank does; rank 0 writes."""
    writes, told = os.environ["RANK"] == "0", 0.0

    def watch(look: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S or look.done == look.total:
            told = time.monotonic()
            send(look)

    share = dataclasses.replace(share, restarts=int(os.environ["TORCHELASTIC_RESTART_COUNT"]))
    out = share.open(writes, watch if writes else None)
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(config, inputs, out, **given)
    return out.given()


def incident_of(event: Event, attempt: int) -> Incident:
    """An event as a line of incidents.jsonl."""
    action: Action = "named" if event.cause == "straggler" else "started again"
    return Incident.now(event.step, event.cause, action, event.lost_s, event.detail, attempt)
