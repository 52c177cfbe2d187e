"""Laws as files: what is written is read again, and what is no law is refused."""

from pathlib import Path

import numpy as np
import pytest

from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.scaling.fit.repeated import MUENNIGHOFF
from puna.scaling.law import CHINCHILLA, REFIT
from puna.scaling.law_file import read_law, write_law


def test_a_law_comes_back_with_its_resamples_and_their_interval(tmp_path: Path) -> None:
    rows = np.array([[1.8, 480.0, 0.34, 2000.0, 0.36]] * 41)
    rows[:, 0] += np.arange(41) / 1000
    rows = np.concatenate([rows, [[1.8, np.inf, 0.3, 2000.0, 0.36], [0.0, 480.0, 0.34, 2000.0, 0.36]]])
    write_law(tmp_path / "law.json", REFIT, rows, approach="parametric")
    found = read_law(str(tmp_path / "law.json"))
    assert found.law == REFIT and found.name == str(tmp_path / "law.json")
    assert len(found.resamples) == 41  # the two that are no laws are left out
    low, high = found.interval(1e9, 2e10) or (0, 0)
    rest = 480 * 1e9**-0.34 + 2000 * 2e10**-0.36
    assert (low, high) == (pytest.approx(1.801 + rest), pytest.approx(1.839 + rest))
    assert read_json(tmp_path / "law.json")["approach"] == "parametric"


def test_published_laws_go_by_name_and_have_no_interval() -> None:
    laws = [read_law(name).law for name in ("chinchilla", "refit", "muennighoff")]
    assert laws == [CHINCHILLA, REFIT, MUENNIGHOFF.base]
    assert read_law("refit").interval(1e9, 1e10) is None


def test_a_forecast_has_a_law_too(tmp_path: Path) -> None:
    law = {"floor": 1.7, "a": 400, "alpha": 0.34, "b": 410, "beta": 0.28}
    write_json(tmp_path / "forecast.json", {"loss": 3.0, "law": law})
    found = read_law(str(tmp_path / "forecast.json"))
    assert found.law.floor == 1.7 and found.resamples == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"law": {"floor": 1.7}}, "expected a law with floor, a, alpha, b, beta, came none"),
        ([1], "expected a law with"),
        ({"law": {"floor": 1.7, "a": -4, "alpha": 0.3, "b": 4, "beta": 0.3}}, "a law of numbers above 0"),
        ({"law": {"floor": "x", "a": 4, "alpha": 0.3, "b": 4, "beta": 0.3}}, "a law of numbers above 0"),
        ({"law": {"floor": 1, "a": 4, "alpha": 1, "b": 4, "beta": 1}, "resamples": [[1]]}, "a law of numbers above 0"),
    ],
)
def test_what_is_no_law_is_refused(tmp_path: Path, content: object, message: str) -> None:
    write_json(tmp_path / "law.json", content)
    with pytest.raises(DataError, match=message):
        read_law(str(tmp_path / "law.json"))


def test_another_name_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="--law: expected chinchilla, refit, muennighoff, or a law.json .* came 'mine'"
    ):
        read_law("mine")
