"""What the stage `forecast` wrote of a run, beside what comes: a band in the report, and an end for runs above it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from puna.base.errors import ConfigError, DataError, RunError
from puna.base.files import read_json
from puna.pretrain.text import SAME_TEXT, Text

Log = list[dict[str, float]]


class OtherRunError(ConfigError):
    """A forecast of another run than the one it was given to."""


@dataclass(frozen=True)
class Forecast:
    """Held-out loss in nats a token: rows of share of the steps, expected loss, low and high end of a 95% band."""

    rows: tuple[tuple[float, float, float, float], ...]

    @classmethod
    def load(cls, place: Path, parameters: int, num_tokens: int, tokenizer: str, text: Text) -> "Forecast":
        """From an artifact or a forecast.json, for a run with a `tokenizer` (fingerprint), measured on `text`.

        Losses a byte become those of this run's tokens. Raises OtherRunError if it is of a run of another size, number
        of tokens, tokenizer (losses a token) or kind of text; DataError if it is no forecast.
        """
        path = place / "forecast.json" if place.is_dir() else place
        if not path.is_file():
            raise DataError(f"expected a forecast or its forecast.json at {place}, came none")
        made = read_json(path)
        for name, mine in (("parameters", parameters), ("tokens", num_tokens)):
            if made[name] != mine:
                setting = {"parameters": "parameters", "tokens": "num_tokens"}[name]
                raise OtherRunError(
                    f"{place}: expected a forecast of this run, of {mine:,} {name}, came one of {made[name]:,}; "
                    f"set its {setting} to {mine}"
                )
        apart = text.distance(Text.from_dict(made["text"])) if "text" in made else 0.0
        if apart > SAME_TEXT:
            raise OtherRunError(
                f"{place}: expected a forecast for text like this run's, came one whose bytes differ by {apart:.2f} "
                f"(up to {SAME_TEXT} is alike); train a ladder on this text"
            )
        unit = made.get("unit", "token")
        if unit == "token" and made.get("tokenizers", [tokenizer]) != [tokenizer]:
            raise OtherRunError(
                f"{place}: expected a forecast in tokens of this run's tokenizer, came one of another; set unit of the "
                "forecast to byte"
            )
        scale = text.bytes_per_token if unit == "byte" else 1.0
        return cls(tuple((share, *(scale * loss for loss in losses)) for share, *losses in made["curve"]))

    @property
    def loss(self) -> float:
        """At the end."""
        return self.rows[-1][1]

    def at(self, share: float) -> tuple[float, float, float]:
        """Expected loss, low and high end at a share of the steps, straight between the rows."""
        shares, *columns = np.array(self.rows).T
        expected, low, high = (float(np.interp(share, shares, column)) for column in columns)
        return expected, low, high

    def check(self, log: Log, num_steps: int, patience: int) -> None:
        """Raises RunError if the last `patience` measured losses (0: however many) lie above the band."""
        measured = [row for row in log if "validation" in row][-patience:] if patience else []
        above = [row for row in measured if row["validation"] > self._known_high(row["step"] / num_steps)]
        if patience and len(above) == patience:
            step, loss = int(above[-1]["step"]), above[-1]["validation"]
            expected, low, high = self.at(step / num_steps)
            raise RunError(
                f"step {step} of {num_steps}: the held-out loss is {loss:.3f}, the forecast says {expected:.3f} "
                f"({low:.3f} to {high:.3f}), for {patience} times in a row; look at lr and data, or set "
                "forecast_patience to 0"
            )

    def _known_high(self, share: float) -> float:
        """Before the first row nothing is known."""
        return self.at(share)[2] if share >= self.rows[0][0] else float("inf")

    def add_to(self, panel: dict[str, Any], num_tokens: int) -> dict[str, Any]:
        """The panel of the loss with what was foretold; logarithmic, or the first steps would hide the rest."""
        tokens = [row[0] * num_tokens for row in self.rows]
        names = ("forecast", "forecast, low", "forecast, high")
        series = [{"name": name, "x": tokens, "y": [row[i + 1] for row in self.rows]} for i, name in enumerate(names)]
        return {**panel, "y_scale": "log", "series": [*panel["series"], *series]}

    def metrics(self, loss: float) -> dict[str, float]:
        """How the last loss compares: relative error, and whether it is inside the interval."""
        expected, low, high = self.at(1.0)
        return {
            "forecast_loss": expected,
            "forecast_error": loss / expected - 1,
            "forecast_inside": float(low <= loss <= high),
        }
