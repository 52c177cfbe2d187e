"""A stage that trains a model of width 16 on counting, for tests of the supervisor and of chaos."""

import os
import signal
import time

from puna.base.errors import ConfigError
from puna.base.output import Inputs, StageOutput
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, train
from tests.pretrain.test_loop import LEARN, _loader, _model


class SmallConfig(LoopConfig):
    """num_steps of at least `step_s` seconds; `fault` "kill", "freeze" or "refuse", once, at step 5."""

    num_steps: int = 12
    step_s: float = 0.0
    fault: str = ""


def train_small(config: SmallConfig, inputs: Inputs, out: StageOutput) -> None:
    """The weights as one unit, and what came of it as metrics."""
    model = _model()

    def batch_at(step: int) -> Batch:
        if config.fault and step == 5 and not (out.state / "struck").exists():
            (out.state / "struck").touch()
            _strike(config.fault)
        time.sleep(config.step_s)
        return _loader().batch(step)

    log = train(model, batch_at, config.num_steps, config, out, LEARN)
    with out.unit("weights.bin") as unit:
        tensors = [tensor.numpy().tobytes() for _, tensor in sorted(model.state_dict().items())]
        unit.path.write_bytes(b"".join(tensors) + repr([row["loss"] for row in log]).encode())
    out.metric(num_steps=config.num_steps, tokens_learned=log[-1]["tokens"], final_loss=log[-1]["loss"])
    out.panel("text", "It is done", text="yes")


def _strike(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "refuse":
        raise ConfigError("lr: expected less, came more")


def undisturbed(config: SmallConfig, out: StageOutput) -> dict[str, str]:
    """Checksums of what comes out in this process."""
    train_small(config.model_copy(update={"fault": "", "step_s": 0.0}), Inputs({}), out)
    return {name: record["sha256"] for name, record in out.records().items()}
