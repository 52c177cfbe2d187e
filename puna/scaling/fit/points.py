"""Measured points as columns of numbers, refused where no fit could be right.

P points.
"""

import numpy as np
import numpy.typing as npt

from puna.base.errors import DataError

Float64 = npt.NDArray[np.float64]


def positive(least: int, **named: npt.ArrayLike) -> list[Float64]:
    """The named columns as vectors [P] of numbers above 0. Raises DataError as `finite` does, and for others."""
    columns = finite(least, **named)
    for name, column in zip(named, columns, strict=True):
        bad = np.flatnonzero(column <= 0)
        if len(bad):
            raise DataError(
                f"{name}: expected numbers above 0, came {column[bad[0]]:g} at place {bad[0]}; leave such points out"
            )
    return columns


def finite(least: int, **named: npt.ArrayLike) -> list[Float64]:
    """The named columns as vectors [P] of finite numbers.

    Raises DataError if they differ in length, have fewer than `least` points, or hold something that is no number.
    """
    columns: list[Float64] = []
    for name, values in named.items():
        try:
            column = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: expected numbers, came {type(values).__name__} of something else") from error
        if column.ndim != 1:
            raise DataError(f"{name}: expected one number a point, came an array of shape {column.shape}")
        if columns and len(column) != len(columns[0]):
            first = next(iter(named))
            raise DataError(f"{name}: expected {len(columns[0])} numbers, as of {first}, came {len(column)}")
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise DataError(
                f"{name}: expected finite numbers, came {column[bad[0]]} at place {bad[0]}; leave such points out"
            )
        columns.append(column)
    if len(columns[0]) < least:
        raise DataError(f"{', '.join(named)}: expected at least {least} points, came {len(columns[0])}; measure more")
    return columns


def varied(**named: Float64) -> None:
    """Raises DataError if a column holds one value only: no slope can be learned over it."""
    for name, column in named.items():
        if not np.ptp(column) > 1e-9 * np.abs(column).max():
            raise DataError(f"{name}: expected at least two different values, came {column[0]:g} alone; vary it")
