"""A fitted law as a file: what `puna scaling fit --out law.json` writes, and `plan` and `predict` take as `--law`.

    {"law": {"floor": .., "a": .., "alpha": .., "b": .., "beta": ..}, "resamples": [[floor, a, alpha, b, beta], ..], ..}

Without `resamples` (a forecast.json has a law and none) there is no interval.
"""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.scaling.fit.bootstrap import Interval, interval
from puna.scaling.fit.points import Float64
from puna.scaling.fit.repeated import MUENNIGHOFF
from puna.scaling.law import CHINCHILLA, REFIT, LossLaw

PUBLISHED = {"chinchilla": CHINCHILLA, "refit": REFIT, "muennighoff": MUENNIGHOFF.base}
_NAMES = ("floor", "a", "alpha", "b", "beta")


@dataclass(frozen=True)
class NamedLaw:
    """A law, what it is called, and the laws of the same fit on resampled runs."""

    name: str
    law: LossLaw
    resamples: tuple[LossLaw, ...] = ()

    def interval(self, parameters: float, tokens: float) -> Interval | None:
        """95% of the law's loss there, in nats a token; a single run scatters more. None without resamples."""
        if not self.resamples:
            return None
        return interval(np.array([law.loss(parameters, tokens) for law in self.resamples]))


def read_law(name: str) -> NamedLaw:
    """A published law by its name, or the law of a file.

    Raises ConfigError for a name that is neither, DataError for a file that holds no law.
    """
    if name in PUBLISHED:
        return NamedLaw(name, PUBLISHED[name])
    path = Path(name)
    if not path.is_file():
        known = ", ".join(PUBLISHED)
        raise ConfigError(f"--law: expected {known}, or a law.json that `puna scaling fit --out` wrote, came {name!r}")
    made = read_json(path)
    if not isinstance(made, dict) or not isinstance(made.get("law"), dict) or set(made["law"]) != set(_NAMES):
        raise DataError(
            f"{path}: expected a law with {', '.join(_NAMES)}, came none; `puna scaling fit --out` writes one"
        )
    try:
        law = LossLaw(**{key: float(value) for key, value in made["law"].items()})
        resamples = tuple(LossLaw(*(float(value) for value in row)) for row in made.get("resamples", ()))
    except (TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path}: expected a law of numbers above 0, came another ({error})") from None
    return NamedLaw(str(path), law, resamples)


def write_law(path: Path, law: LossLaw, samples: Float64, **more: Any) -> None:
    """Write a law with its resamples [R, 5], and what else is known of the fit.

    A resample that is no law (a coefficient that ran to 0 or to infinity) is left out: nothing can be predicted by it.
    """
    kept = samples[np.isfinite(samples).all(-1) & (samples > 0).all(-1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    law_values = dict(zip(_NAMES, astuple(law), strict=True))
    write_json(path, {**more, "law": law_values, "resamples": kept.tolist()})
