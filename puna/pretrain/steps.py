"""Which rows each step of a run learns: batches of one size, or of sizes that grow (a batch ramp).

Rows are counted over the whole run, so a step is a range of row numbers, whatever was loaded before.
"""

import bisect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Steps:
    """Parts of a run, one after another: `rows` rows a step, from step `steps[i]` to before `steps[i + 1]`.

    firsts: the number of the first row of each part; that behind the last is its end, as in `steps`.
    """

    rows: tuple[int, ...]
    steps: tuple[int, ...]
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, num_tokens: int, row_tokens: int, batch_rows: int, ramp: Mapping[int, int]) -> "Steps":
        """As many whole steps as `num_tokens` hold, at least one; `ramp` says how many rows until how many tokens.

        A part of the ramp ends with the first step that reaches its number of tokens.
        """
        rows, steps, firsts = list[int](), [0], [0]
        for until, size in [*sorted(ramp.items()), (num_tokens, batch_rows)]:
            batch, done, is_last = size * row_tokens, firsts[-1] * row_tokens, until >= num_tokens
            count = (num_tokens - done) // batch
            if not is_last:
                count = min(count, -((done - until) // batch))
            if not steps[-1]:
                count = max(1, count)
            if count > 0:
                rows.append(size)
                steps.append(steps[-1] + count)
                firsts.append(firsts[-1] + count * size)
            if is_last:
                break
        return cls(tuple(rows), tuple(steps), tuple(firsts))

    @property
    def num_steps(self) -> int:
        return self.steps[-1]

    @property
    def num_rows(self) -> int:
        """Of all steps, a row that is learned twice counted twice."""
        return self.firsts[-1]

    def at(self, step: int) -> range:
        """The numbers of the rows that `step` learns. Raises IndexError behind the end."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"expected a step below {self.num_steps}, came {step}")
        part = bisect.bisect_right(self.steps, step) - 1
        first = self.firsts[part] + (step - self.steps[part]) * self.rows[part]
        return range(first, first + self.rows[part])


def check_ramp(ramp: Mapping[int, int], batch_rows: int) -> None:
    """Raises ValueError if sizes do not grow from part to part up to `batch_rows`, or are below one."""
    sizes = [*(size for _, size in sorted(ramp.items())), batch_rows]
    if min([*ramp, *sizes], default=1) < 1 or any(a >= b for a, b in itertools.pairwise(sizes)):
        raise ValueError(
            f"batch_ramp: expected rows that grow to batch_rows = {batch_rows}, until so many tokens "
            f"({{252000000: {max(1, batch_rows // 2)}}}), came {dict(ramp)}"
        )
