"""Settings of a world; the defaults are the nano lap's."""

from collections.abc import Collection
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from puna.base.config import Config
from puna.world.dirt import MAKERS

Operation = Literal["bags", "gain", "lose", "double", "halve", "share", "price", "change", "goal"]

PAGE_SHARES = {
    "arithmetic": 0.50,
    "article": 0.26,
    "story": 0.01,
    "question": 0.17,
    "spanish": 0.02,
    "chinese": 0.01,
    "code": 0.03,
}
"""Shares of the clean characters; 1% of Chinese characters is about 3% of the pages."""
DIRT_SHARES = {
    "exact-copy": 0.03,
    "near-copy": 0.045,
    "older-version": 0.03,
    "spam": 0.03,
    "toxic": 0.015,
    "adult": 0.015,
    "personal": 0.02,
    "mojibake": 0.015,
    "boilerplate": 0.02,
    "lorem": 0.01,
    "foreign": 0.015,
    "broken": 0.015,
}
"""Shares of all pages; a quarter of the crawl in all."""
DIALOG_SHARES = {
    "choice-fact": 0.20,
    "choice-other": 0.12,
    "word": 0.40,
    "direct": 0.06,
    "tell": 0.08,
    "talk": 0.03,
    "refusal": 0.03,
    "unknown": 0.02,
    "instruction": 0.04,
    "language": 0.02,
}
STEP_SHARES = {1: 0.12, 2: 0.53, 3: 0.22, 4: 0.13}
PROMPT_SHARES = {"choice": 0.25, "number": 0.75}
PROMPT_STEP_SHARES = {2: 0.25, 3: 0.40, 4: 0.35}
_KINDS: dict[str, Collection[str]] = {
    "page_shares": PAGE_SHARES,
    "dirt_shares": MAKERS,
    "dialog_shares": DIALOG_SHARES,
    "prompt_shares": PROMPT_SHARES,
}
"""The kinds that each setting of shares may name."""


class WorldConfig(Config):
    """What a world holds. Sizes are numbers of items, `clean_chars` is characters of clean main text."""

    num_people: int = Field(24, ge=8, le=36)
    num_wares: int = Field(12, ge=2, le=30)
    num_places: int = Field(12, ge=2, le=30)
    exam_fact_weight: float = Field(1.3, ge=1.0, le=2.0)
    """How much more often articles tell facts that no question page asks."""

    clean_chars: int = Field(6_500_000, ge=1_000)
    heldout_chars: int = Field(0, ge=0)
    """Characters of clean pages beside the crawl, to measure on: in no file of it, and no dirt is made from them."""
    page_shares: dict[str, float] = PAGE_SHARES
    dirt_shares: dict[str, float] = DIRT_SHARES
    quiz_share: float = Field(0.1, ge=0, le=1)
    """Questions about facts on the crawl's pages that offer choices; what is left of that form is for SFT to teach."""

    num_files: int = Field(4, ge=1, le=100)
    step_shares: dict[int, float] = STEP_SHARES
    """Word problems of the crawl by number of steps."""

    operations: tuple[Operation, ...] = ("bags", "gain", "lose", "double", "halve", "price")
    """Operations of the word problems. More of them, larger numbers and more wordings need a larger model."""
    largest_start: int = Field(60, ge=10, le=60)
    largest_number: int = Field(9, ge=2, le=60)
    """The largest number that is added or taken away."""
    num_wordings: int = Field(6, ge=1, le=12)
    """How many of the 12 starts and of the 12 wordings of each operation are used."""

    operand_split: int = Field(5, ge=2)
    order_split: int = Field(4, ge=2)
    pair_split: int = Field(5, ge=2, le=20)
    """One number tuple, one order, one (person, goods) pair in so many is held out for the exams."""
    num_exam_items: int = Field(500, ge=1)
    num_dev_items: int = Field(140, ge=1)
    num_training_items: int = Field(20_000, ge=1)

    num_dialogs: int = Field(7_000, ge=1)
    dialog_shares: dict[str, float] = DIALOG_SHARES
    dialog_step_shares: dict[int, float] | None = None
    """Worked word problems of the dialogs and preferences by number of steps; those of the crawl if not given."""
    two_turn_share: float = Field(0.08, ge=0, le=1)
    system_share: float = Field(0.08, ge=0, le=1)
    num_preferences: int = Field(1_600, ge=1)

    num_prompts: int = Field(3_000, ge=1)
    """Prompts without an answer in words, for rejection sampling and reinforcement learning; held-out ones included."""
    prompt_shares: dict[str, float] = PROMPT_SHARES
    prompt_step_shares: dict[int, float] = PROMPT_STEP_SHARES
    heldout_prompt_share: float = Field(0.1, ge=0, lt=1)

    @property
    def steps_of_dialogs(self) -> dict[int, float]:
        """`dialog_step_shares`, or those of the crawl."""
        return self.dialog_step_shares or self.step_shares

    @field_validator("operations")
    @classmethod
    def _known_operations(cls, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        if not operations or len(set(operations)) < len(operations):
            raise ValueError("at least one operation, each named once")
        if "change" in operations and "price" not in operations:
            raise ValueError('"price" beside "change", which follows a sale')
        return operations

    @field_validator("page_shares", "dirt_shares", "dialog_shares", "prompt_shares")
    @classmethod
    def _known_shares(cls, shares: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        is_dirt = info.field_name == "dirt_shares"
        known = _KINDS[info.field_name or ""]
        if unknown := set(shares) - set(known):
            raise ValueError(f"kinds among {sorted(known)}, not {sorted(unknown)}")
        if any(share < 0 for share in shares.values()):
            raise ValueError("shares of at least 0")
        if is_dirt and sum(shares.values()) >= 1:
            raise ValueError("shares of dirt that leave room for clean pages (a sum below 1)")
        if not is_dirt and sum(shares.values()) <= 0:
            raise ValueError("at least one share above 0")
        return shares

    @field_validator("step_shares", "dialog_step_shares", "prompt_step_shares")
    @classmethod
    def _known_steps(cls, shares: dict[int, float] | None) -> dict[int, float] | None:
        if shares is None:
            return None
        if not shares or set(shares) - {1, 2, 3, 4} or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError("shares of 1, 2, 3 and 4 steps, none negative, one above 0")
        return shares
