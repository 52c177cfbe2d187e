"""Rounds: a block of stages that a recipe repeats, laid out as plain stages when the recipe is read.

    rounds: 2
    stages:
      sft: {...}
      round:
        carry: {model: {first: sft, then: keep}}
        stages:
          train: {kind: sft, inputs: {model: round.model, dialogs: generate/dialogs.jsonl}}
          keep: {kind: keep, inputs: {before: round.model, after: train}}
      export: {kind: export, inputs: {model: round.model, scores: ["round*.keep"]}}

becomes sft, round1.train, round1.keep, round2.train, round2.keep, export. Nothing past the recipe knows of rounds,
so round 1 of one round and round 1 of five have the same fingerprints. Here names are led to stages:

    where             written             means
    in the block      train               the stage of the same round; goes before an outer stage of that name
    in the block      round.model         what is carried into this round: `first`, later `then` of the round before
    after the block   round.model         what the last round hands on; with no rounds, `first`
    after the block   round.train         the last round's; with no rounds an error, or nothing in a list
    after the block   [round*.train]      every round's, in a list
    anywhere          round2.train        that round's
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puna.base.config import Config, did_you_mean
from puna.base.errors import ConfigError

# The block's name ends in no digit: round1 and a block called round1 could not be told apart.
_BLOCK_NAME = re.compile(r"[a-z](?:[a-z0-9_-]*[a-z_-])?")
_EXPANDED = re.compile(rf"{_BLOCK_NAME.pattern}([1-9][0-9]*)\.[a-z][a-z0-9_-]*")
_CARRY_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_FILE = ("/", "./", "../", "~")

Reference = str | list[str]


class Carry(Config):
    """What one round hands to the next: `first` goes into round 1, `then` of a round into the round after it."""

    first: str
    then: str


@dataclass(frozen=True)
class Rounds:
    """The block of a recipe and how often it is laid out; `before` are the stages that come before it."""

    name: str
    count: int
    carry: Mapping[str, Carry]
    stages: Sequence[str]
    before: Sequence[str]

    def laid_out(self, stages: Mapping[str, Any]) -> dict[str, Any]:
        """`stages` with one copy a round of the block's stages in its place, references still as written."""
        lap = stages[self.name]["stages"]
        copies = {self.stage(number, name): lap[name] for number in range(1, self.count + 1) for name in lap}
        made: dict[str, Any] = {}
        for name, spec in stages.items():
            made |= copies if name == self.name else {name: spec}
        return made

    def resolve(self, stage: str, inputs: Mapping[str, Reference], where: str) -> dict[str, Reference]:
        """The inputs of a stage, by its name after expansion, with plain stages for all that the block defines.

        Raises ConfigError naming the input.
        """
        number = round_of(stage) or (0 if stage in self.before else self.count + 1)
        resolved = {}
        for name, value in inputs.items():
            try:
                resolved[name] = self._one(value, number) if isinstance(value, str) else self._many(value, number)
            except ConfigError as error:
                raise ConfigError(f"{where}: {stage}.inputs.{name}: {error}") from None
        return resolved

    def check(self, stages: Iterable[str], where: str) -> None:
        """Raise ConfigError for names that could be read in two ways, and for a carry that names nothing.

        `stages` are the names of the whole recipe's, the block among them.
        """
        if not self.stages:
            raise ConfigError(f"{where}: expected at least one stage in {self.name}.stages, came none")
        if not _BLOCK_NAME.fullmatch(self.name):
            raise ConfigError(f"{where}: expected a block's name that ends in no digit, came {self.name!r}; rename it")
        for name in stages:
            if re.fullmatch(rf"{self.name}[0-9]+", name):
                raise ConfigError(f"{where}: {name} reads like a round of {self.name}; rename the stage or the block")
        for name in self.carry:
            self._check_carry(name, where)

    def check_number(self, number: int | None, where: str = "") -> None:
        """Raise ConfigError if there is no such round; the message begins with `where`."""
        if not self.count:
            raise ConfigError(f"{where}{_no_rounds(f'{self.name}{number}')}")
        if number not in range(1, self.count + 1):
            more = f"; for more rounds set rounds (--set rounds={number})" if number else ""
            raise ConfigError(f"{where}expected a round of 1 to {self.count}, came {self.name}{number}{more}")

    def stage(self, number: int, name: str) -> str:
        """The name that a stage of the block has in a round."""
        return f"{self.name}{number}.{name}"

    def _one(self, reference: str, number: int) -> str:
        if reference.startswith(f"{self.name}*."):
            raise ConfigError(f'expected one artifact, came {reference}, which is a list; write ["{reference}"]')
        found = self._plain(reference, number)
        if not found:
            raise ConfigError(_no_rounds(reference))
        return found[0]

    def _many(self, references: list[str], number: int) -> list[str]:
        return [one for reference in references for one in self._plain(reference, number)]

    def _plain(self, reference: str, number: int) -> list[str]:
        """What a reference means in round `number`; 0 is before the block, `count` + 1 after it."""
        head, slash, rest = reference.partition("/")
        if 1 <= number <= self.count and head in self.stages:
            return [self.stage(number, head) + slash + rest]
        match = re.fullmatch(rf"{re.escape(self.name)}(\*|0|[1-9][0-9]*|)(?:\.(.*))?", head)
        if not match:
            return [reference]
        if not number:
            raise ConfigError(f"{reference} is made by {self.name}, which comes after it; move it behind the block")
        which, member = match[1], match[2] or ""
        self._check_member(head, member, carried=not which)
        if which == "*":
            stages = self._of_every_round(reference, member, number)
        elif which:
            self.check_number(int(which))
            stages = [self.stage(int(which), member)]
        else:
            stages = self._of_block(member, number)
        return [stage + slash + rest for stage in stages]

    def _of_every_round(self, reference: str, member: str, number: int) -> list[str]:
        if number <= self.count:
            raise ConfigError(f"{reference} is known when all rounds have ended; read it in a stage after the block")
        return [self.stage(one, member) for one in range(1, self.count + 1)]

    def _of_block(self, member: str, number: int) -> list[str]:
        if member in self.carry:
            return [self._carried(member, number)]
        if number <= self.count:
            raise ConfigError(
                f"expected the stage's own name inside the block, came {self.name}.{member}; write {member}"
            )
        return [self.stage(self.count, member)] if self.count else []

    def _carried(self, name: str, number: int) -> str:
        carry = self.carry[name]
        return carry.first if number == 1 else self._plain(carry.then, number - 1)[0]

    def _check_carry(self, name: str, where: str) -> None:
        carry, place = self.carry[name], f"{where}: {self.name}.carry.{name}"
        if not _CARRY_NAME.fullmatch(name):
            raise ConfigError(f"{where}: expected the name of a carry to be of a-z, 0-9, _ and -, came {name!r}")
        if name in self.stages:
            raise ConfigError(f"{place}: {self.name}.{name} would be a stage and a carry; rename one")
        if not carry.first.startswith(_FILE):
            what = f"a stage before {self.name} (or a file, as ./NAME)"
            _check_known(f"{place}.first", carry.first, self.before, what)
        within = [*self.stages, *(f"{self.name}.{other}" for other in self.carry), *self.before]
        _check_known(f"{place}.then", carry.then, within, f"a stage of {self.name}")

    def _check_member(self, head: str, member: str, carried: bool) -> None:
        known = [*(self.carry if carried else ()), *self.stages]
        if member not in known:
            what = "a carry or stage" if carried else "a stage"
            raise ConfigError(
                f"expected {what} of {self.name}, came {head}{did_you_mean(member, known)}; "
                f"known: {', '.join(known)} (a file of that name: ./{head})"
            )


def block_name(stages: Any, where: str) -> str | None:
    """The name of the entry of `stages` that is a block, if there is one. Raises ConfigError for a second one."""
    blocks = [name for name, spec in stages.items() if is_block(spec)] if isinstance(stages, dict) else []
    if len(blocks) > 1:
        raise ConfigError(
            f"{where}: expected one block with stages of its own, came {', '.join(blocks)}; make them one"
        )
    return blocks[0] if blocks else None


def is_block(spec: Any) -> bool:
    """Whether an entry of `stages` is a block, going by the keys that a stage does not have."""
    return isinstance(spec, dict) and ("stages" in spec or "carry" in spec)


def round_of(stage: str) -> int:
    """The round that a stage's name after expansion speaks of, 0 for a stage outside rounds."""
    match = _EXPANDED.fullmatch(stage)
    return int(match[1]) if match else 0


def num_rounds(stages: Iterable[str]) -> int:
    """How many rounds the names of a recipe's stages speak of."""
    return max((round_of(stage) for stage in stages), default=0)


def number_of(block: str, setting: str) -> int | None:
    """The round that a setting such as round2.train.lr is for, None if it is for no single one."""
    match = re.match(rf"{re.escape(block)}(0|[1-9][0-9]*)\.", setting)
    return int(match[1]) if match else None


def count_of(values: Mapping[str, Any], where: str) -> int:
    """How many rounds plain YAML values ask for. Raises ConfigError if that is no count."""
    count = values.get("rounds", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ConfigError(f"{where}.rounds: expected a whole number >= 0, came {count!r}")
    return count


def _check_known(where: str, reference: str, known: Sequence[str], what: str) -> None:
    head = reference.partition("/")[0]
    if head not in known:
        listed = f"; known: {', '.join(known)}" if known else ""
        raise ConfigError(f"{where}: expected {what}, came {reference}{did_you_mean(head, known)}{listed}")


def _no_rounds(reference: str) -> str:
    return f"{reference} is not there, because there are no rounds; set rounds >= 1 (--set rounds=1)"
