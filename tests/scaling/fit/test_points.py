"""What no fit may take."""

import numpy as np
import pytest

from puna.base.errors import DataError
from puna.scaling.fit.points import finite, positive, varied


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"losses": [1.0, 2.0]}, "losses: expected at least 3 points, came 2"),
        ({"tokens": [1, 2, 3], "losses": [1, 2]}, "losses: expected 3 numbers, as of tokens, came 2"),
        ({"losses": [1, float("nan"), 2]}, "losses: expected finite numbers, came nan at place 1"),
        ({"losses": [1, 2, float("inf")]}, "losses: expected finite numbers, came inf at place 2"),
        ({"losses": [1, 2, 0.0]}, "losses: expected numbers above 0, came 0 at place 2"),
        ({"losses": [1, -2, 3]}, "losses: expected numbers above 0, came -2 at place 1"),
        ({"losses": [[1, 2, 3]]}, "losses: expected one number a point, came an array of shape (1, 3)"),
        ({"losses": ["a", "b", "c"]}, "losses: expected numbers, came list"),
    ],
)
def test_refused(named: dict[str, list[float]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        positive(3, **named)
    assert message in str(caught.value)


def test_taken() -> None:
    a, b = finite(2, a=[1, 0], b=(-3.5, 2))
    assert a.dtype == np.float64 and a.tolist() == [1.0, 0.0] and b.tolist() == [-3.5, 2.0]
    varied(a=a, b=b)
    with pytest.raises(DataError, match="a: expected at least two different values, came 5 alone"):
        varied(a=np.array([5.0, 5.0]))
