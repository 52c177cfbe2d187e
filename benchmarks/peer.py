"""A peer in an environment of its own: a worker process, one JSON object a line each way."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

_PEERS = Path(__file__).with_name("peers")


class Peer:
    """`benchmarks/peers/NAME_worker.py` in `benchmarks/peers/.venv-NAME`, made by `make peer-NAME`, or by `python`.

    Raises FileNotFoundError if that environment is not there.
    """

    def __init__(self, name: str, python: Path | None = None) -> None:
        python = python or _PEERS / f".venv-{name}/bin/python"
        if not python.is_file():
            raise FileNotFoundError(f"{name}: expected its environment at {python.parents[1]}; run: make peer-{name}")
        command = [str(python), str(_PEERS / f"{name}_worker.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """What the worker's function `verb` returns."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([verb, arguments]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker of {self._process.args} ended at {verb}")
        return json.loads(answer)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


def skip(error: FileNotFoundError) -> None:
    """Name a peer that is missing."""
    print(f"skipped: {error}", file=sys.stderr)
