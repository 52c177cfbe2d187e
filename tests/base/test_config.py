"""Settings: unknown keys, wrong types and files are told in one line."""

from pathlib import Path
from typing import Annotated, Literal

import pytest

from puna.base.config import Config, Hardware, Mesh, num_cores, read_yaml, validate
from puna.base.errors import ConfigError, DataError


class Inner(Config):
    rate: float = 0.1
    kind: Literal["a", "b"] = "a"


class Outer(Config):
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    workers: Annotated[int, Hardware] = 2


def test_unknown_settings_at_any_depth() -> None:
    with pytest.raises(
        ConfigError, match=r'^s\.iner: unknown setting; did you mean "inner"\?; known: inner, items, workers$'
    ):
        validate(Outer, {"iner": {}}, "s")
    with pytest.raises(ConfigError, match=r's\.inner\.rat: unknown setting; did you mean "rate"'):
        validate(Outer, {"inner": {"rat": 1}}, "s")
    with pytest.raises(ConfigError, match=r's\.items\.0\.ratee: unknown setting; did you mean "rate"'):
        validate(Outer, {"items": [{"ratee": 1}]}, "s")


def test_wrong_values_say_what_came() -> None:
    with pytest.raises(ConfigError, match=r"s\.inner\.rate: expected a valid number.*, came 'fast'"):
        validate(Outer, {"inner": {"rate": "fast"}}, "s")
    with pytest.raises(ConfigError, match=r"s\.inner\.kind: expected 'a' or 'b', came 'c'"):
        validate(Outer, {"inner": {"kind": "c"}}, "s")
    with pytest.raises(ConfigError, match=r"s\.inner\.rate: .*finite"):
        validate(Outer, {"inner": {"rate": float("nan")}}, "s")


def test_hardware_fields_are_left_out_of_what_is_fingerprinted() -> None:
    assert "workers" in Outer().resolved() and "workers" not in Outer().resolved(hardware=False)


def test_mesh_auto_is_the_cores_of_this_process() -> None:
    assert Mesh().num_threads() == num_cores() and Mesh(threads=3).num_threads() == 3
    with pytest.raises(ConfigError, match=r'mesh\.threads: expected "auto" or a number >= 1, came 0'):
        Mesh(threads=0).num_threads()


def test_yaml_files(tmp_path: Path) -> None:
    (tmp_path / "nano.yaml").write_text("a: 1")
    assert read_yaml(tmp_path / "nano.yaml") == {"a": 1}
    with pytest.raises(DataError, match=r'found none; did you mean "nano\.yaml"'):
        read_yaml(tmp_path / "nanno.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="expected a mapping of settings, came list"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="expected a YAML file in UTF-8"):
        read_yaml(tmp_path / "bad.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="expected YAML"):
        read_yaml(tmp_path / "broken.yaml")
