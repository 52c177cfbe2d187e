"""Settings: pydantic models that forbid what they do not know, and say what was probably meant."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
import yaml

from puna.base.errors import ConfigError, DataError
from puna.base.ranks import is_rank, ranks_here

Hardware = "hardware"
"""Marks a field that says how, not what: `workers: Annotated[int, Hardware] = 2` stays out of fingerprints."""


class Config(pydantic.BaseModel):
    """Base of every stage's settings: immutable, no unknown keys, no NaN."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def resolved(self, hardware: bool = True) -> dict[str, Any]:
        """All settings as plain JSON values; with `hardware=False` only those that can change a result."""
        values = self.model_dump(mode="json")
        return values if hardware else _without_hardware(self, values)


class Mesh(Config):
    """The one block that says on what a run runs; none of it is part of a fingerprint.

    threads, workers: of one process, and processes of a data stage. The others say over how many processes training is
    divided, and how: the world has their product. data: the batch, with weights and optimizer sharded over it (FSDP);
    replicas: the batch, with whole copies; experts: the batch, with the experts of each layer divided; context: the
    sequence; tensor: matrices; pipeline: layers, `stages` parts of them a process, by `schedule`. reshard: gathered
    weights are given back after each layer's forward pass (less memory, more traffic).
    """

    threads: Annotated[int | str, Hardware] = "auto"
    workers: Annotated[int | str, Hardware] = "auto"
    data: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    replicas: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    experts: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    context: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    tensor: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    pipeline: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    stages: Annotated[int, Hardware] = pydantic.Field(default=1, ge=1)
    schedule: Annotated[str, Hardware] = "1f1b"
    reshard: Annotated[bool, Hardware] = False

    @property
    def world_size(self) -> int:
        """Processes that train together."""
        return self.data * self.replicas * self.experts * self.context * self.tensor * self.pipeline

    def num_threads(self, together: bool = False) -> int:
        """Threads of one process; `auto` is the number of cores this process may use.

        together: of one of the processes that train, which share the cores of a machine.
        """
        if self.threads != "auto":
            return _positive("mesh.threads", self.threads)
        sharing = (ranks_here() if is_rank() else self.world_size) if together else 1
        return max(1, num_cores() // sharing)

    def num_workers(self) -> int:
        """Worker processes of a data stage."""
        return num_cores() if self.workers == "auto" else _positive("mesh.workers", self.workers)


C = TypeVar("C", bound=pydantic.BaseModel)


def validate(model: type[C], values: dict[str, Any], where: str) -> C:
    """`values` as a `model`. Raises ConfigError in one line: where, what was expected, what came, what was meant."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(_explain(model, item, where) for item in error.errors()[:3])) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises DataError if the file is missing, ConfigError if it is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else ())
        raise DataError(f"expected a YAML file at {path}, found none{near}") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: expected a YAML file in UTF-8, came {error}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML, came {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, came {type(values).__name__}")
    return values


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _without_hardware(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    """The dumped `values` of a config without hardware, also in the configs that are its fields."""
    kept = {}
    for name, field in type(config).model_fields.items():
        inner = getattr(config, name)
        if Hardware not in field.metadata:
            kept[name] = _without_hardware(inner, values[name]) if isinstance(inner, Config) else values[name]
    return kept


def _positive(name: str, value: int | str) -> int:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f'{name}: expected "auto" or a number >= 1, came {value!r}')
    return value


def _explain(model: type[pydantic.BaseModel], item: Any, where: str) -> str:
    path = ".".join(str(part) for part in (where, *item["loc"]) if part != "")
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        listed = f"; known: {', '.join(sorted(known))}" if known else ""
        return f"{path}: unknown setting{did_you_mean(str(item['loc'][-1]), known)}{listed}"
    if item["type"] == "missing":
        return f"{path}: expected a value, came none"
    message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{path}: expected {message}, came {item['input']!r}"


def _fields_at(model: Any, location: Iterable[str | int]) -> list[str]:
    """Names of the fields of the model that `location` leads to, through lists, dicts and unions."""
    for part in location:
        if isinstance(model, type) and issubclass(model, pydantic.BaseModel):
            if part not in model.model_fields:
                continue
            model = model.model_fields[str(part)].annotation
        model = next(
            (arg for arg in _leaves(model) if isinstance(arg, type) and issubclass(arg, pydantic.BaseModel)), model
        )
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, pydantic.BaseModel) else []


def _leaves(annotation: Any) -> Iterable[Any]:
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)
