"""Word problems as typed operations: which numbers are legal, what is held out, and the sampler.

A problem is a chain: a start quantity, then operations that each change it. Its *order* is the tuple of operation
names; its *operands* are the first quantity followed by the other operand of each equation. Both are split by a hash:
training never contains a held-out operand tuple (nor a chain that begins with one), nor a held-out order of three or
four operations (nor a longer one with it inside). Pairs of a person and goods are split as well, so that an exam story
is never a training story with other numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from puna.base.errors import ConfigError
from puna.base.rng import hash64
from puna.world.chance import Chance
from puna.world.lexicon import GOODS, PUPILS
from puna.world.settings import Operation, WorldConfig

OPERATIONS: tuple[str, ...] = get_args(Operation)
SYMBOLS = dict(zip(OPERATIONS, "*+-*/" + "/*--", strict=True))
REVERSED = ("change", "goal")
"""Operations whose new number comes first in the equation, and that end a chain."""
MAX_STEPS = 4
_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Chain:
    """`operands[0]` is the start, `operands[i]` belongs to `order[i-1]`; `values[i]` is the quantity after i steps."""

    order: tuple[str, ...]
    operands: tuple[int, ...]
    values: tuple[int, ...]

    def equation(self, step: int) -> str:
        """The equation of a step, 0 the first: "12+7=19"."""
        name, new = self.order[step], self.operands[step + 1]
        left, right = self.values[step], new
        if name in REVERSED:
            left, right = right, left
        return f"{left}{SYMBOLS[name]}{right}={self.values[step + 1]}"


def _legal_operands(name: str, x: int, largest: int) -> range | list[int]:
    """The other operands that `name` allows at quantity x: numbers to `largest`, products within the tables."""
    if name == "gain":
        return range(2, min(largest, 99 - x) + 1)
    if name == "lose":
        return range(2, min(largest, x) + 1)
    if name == "double":
        return [2] if 2 <= x <= 60 else []
    if name == "halve":
        return [2] if x >= 2 and x % 2 == 0 else []
    if name == "share":
        return [k for k in range(2, 11) if x > 0 and x % k == 0 and x // k <= 12]
    if name == "price":
        return range(2, 11) if 2 <= x <= 12 else []
    if name == "bags":
        return range(2, 13) if 2 <= x <= 10 else []
    if name == "change":
        return [note for note in (20, 50, 100, 200) if note > x > 0]
    return range(x + 1, min(x + largest, 150) + 1)  # goal


def _apply(name: str, x: int, operand: int) -> int:
    if name in REVERSED:
        return operand - x
    symbol = SYMBOLS[name]
    return {"+": x + operand, "-": x - operand, "*": x * operand, "/": x // operand}[symbol]


class Arithmetic:
    """The operations of one world: its orders, its held-out part, and samples from both sides.

    Of the settings it uses `operations`, `largest_start`, `largest_number` and the three splits.
    """

    def __init__(self, config: WorldConfig, seed: int):
        self._config, self._seed = config, seed
        self._options: dict[tuple[str, int, str], list[int]] = {}
        self._starts: dict[str, list[int]] = {}

    def operands_held_out(self, operands: tuple[int, ...]) -> bool:
        """Whether this tuple (of three numbers or more) belongs to the exams."""
        return len(operands) >= 3 and hash64(self._seed, "operands", *operands) % self._config.operand_split == 0

    def order_held_out(self, order: tuple[str, ...]) -> bool:
        """Whether this order (of three operations or more) belongs to the exams."""
        return len(order) >= 3 and hash64(self._seed, "order", *order) % self._config.order_split == 0

    def pair_held_out(self, name: str, goods: str) -> bool:
        """Whether the stories of this person about these goods belong to the exams."""
        return hash64(self._seed, "pair", name, goods) % self._config.pair_split == 0

    @cached_property
    def pairs(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """The (person, goods) pairs of training and of the exams; "coins" may stand for goods."""
        pairs = [(name, goods) for name in PUPILS for goods in (*GOODS, "coins")]
        return [p for p in pairs if not self.pair_held_out(*p)], [p for p in pairs if self.pair_held_out(*p)]

    @cached_property
    def training_orders(self) -> dict[int, list[tuple[str, ...]]]:
        """Orders by number of steps: not held out, and without a held-out part."""
        return {
            steps: [o for o in self._orders(steps) if not any(self.order_held_out(part) for part in _parts(o))]
            for steps in range(1, MAX_STEPS + 1)
        }

    @cached_property
    def exam_orders(self) -> dict[int, list[tuple[str, ...]]]:
        """Held-out orders by number of steps (3 and 4)."""
        return {steps: [o for o in self._orders(steps) if self.order_held_out(o)] for steps in (3, MAX_STEPS)}

    def training_chain(self, steps: int, chance: Chance) -> Chain:
        """A chain of a training order, no beginning of whose operands is held out."""
        pool = self._filled(self.training_orders[steps], steps)
        for _ in range(_ATTEMPTS):
            chain = self._draw(chance.pick(pool), chance)
            if chain and not any(self.operands_held_out(chain.operands[:n]) for n in range(3, steps + 2)):
                return chain
        raise ConfigError(f"no training chain of {steps} steps in {_ATTEMPTS} draws; use larger splits")

    def exam_chain(self, steps: int, chance: Chance, taken: set[tuple[int, ...]]) -> Chain:
        """A chain with held-out operands not yet `taken`, and from three steps on of a held-out order."""
        pool = self._filled(self.training_orders[steps] if steps < 3 else self.exam_orders[steps], steps)
        for _ in range(_ATTEMPTS):
            chain = self._draw(chance.pick(pool), chance)
            if chain and self.operands_held_out(chain.operands) and chain.operands not in taken:
                taken.add(chain.operands)
                return chain
        raise ConfigError(f"no new exam chain of {steps} steps in {_ATTEMPTS} draws; ask for fewer exam items")

    def _orders(self, steps: int) -> Iterator[tuple[str, ...]]:
        return orders(steps, self._config.operations)

    def _filled(self, pool: list[tuple[str, ...]], steps: int) -> list[tuple[str, ...]]:
        """The pool itself. Raises ConfigError if it is empty."""
        if not pool:
            raise ConfigError(
                f"operations: expected enough for an order of {steps} steps on either side of the split, "
                f"came {', '.join(self._config.operations)}; allow more operations or another order_split"
            )
        return pool

    def _draw(self, order: tuple[str, ...], chance: Chance) -> Chain | None:
        """Draw numbers for an order, looking one operation ahead; None at a dead end."""
        x = chance.pick(self._start(order[0]))
        operands, values = [x], [x]
        for name, following in zip(order, (*order[1:], ""), strict=True):
            choices = self._ahead(name, x, following)
            if not choices:
                return None
            operands.append(chance.pick(choices))
            x = _apply(name, x, operands[-1])
            values.append(x)
        return Chain(order, tuple(operands), tuple(values))

    def _start(self, first: str) -> list[int]:
        if first not in self._starts:
            starts, largest = range(2, self._config.largest_start + 1), self._config.largest_number
            self._starts[first] = [x for x in starts if _legal_operands(first, x, largest)]
        return self._starts[first]

    def _ahead(self, name: str, x: int, following: str) -> list[int]:
        """Operands of `name` at x after which `following` is still possible ("" = the chain ends)."""
        key = (name, x, following)
        if key not in self._options:
            largest = self._config.largest_number
            legal = _legal_operands(name, x, largest)
            self._options[key] = [
                n for n in legal if not following or _legal_operands(following, _apply(name, x, n), largest)
            ]
        return self._options[key]


def orders(steps: int, operations: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All sensible orders of `steps` of these operations.

    `bags` comes only first, goods are sold once, change comes only after a sale, a goal only at the end, and doubling,
    halving or sharing never twice in a row.
    """

    def extend(order: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if len(order) == steps:
            yield order
            return
        last = len(order) == steps - 1
        for name in operations:
            if (name == "bags" and order) or (name in REVERSED and not last):
                continue
            if (name == "price" and "price" in order) or (name == "change" and order[-1:] != ("price",)):
                continue
            if name in ("double", "halve", "share") and order[-1:] == (name,):
                continue
            yield from extend((*order, name))

    yield from extend(())


def _parts(order: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for length in range(3, len(order) + 1):
        for start in range(len(order) - length + 1):
            yield order[start : start + length]
