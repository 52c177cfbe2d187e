"""Word problems read back from their words: right equations, small numbers, and nothing held out in training."""

import re

import pytest

from puna.base.errors import ConfigError
from puna.world.arithmetic import Arithmetic, orders
from puna.world.chance import Chance
from puna.world.lexicon import GOODS, PUPILS
from puna.world.problems import exam_problems, training_problem
from tests.world.conftest import SEED, SMALL, Worked, World, read_working


@pytest.fixture(scope="session")
def trained(world: World) -> list[tuple[str, Worked]]:
    """Question and worked answer of everything in crawl and dialogs."""
    blocks = world.training_blocks()
    assert len(blocks) > 700
    return [(question, read_working(working)) for question, working in blocks]


@pytest.fixture(scope="session")
def examined(world: World) -> dict[str, Worked]:
    return {row["id"]: read_working(row["working"]) for row in world.rows("exam-truth.jsonl")}


def test_every_equation_is_right_and_numbers_are_small(trained: list, examined: dict) -> None:
    for worked in [w for _, w in trained] + list(examined.values()):
        assert worked.right
        assert max(worked.operands) <= 200 and worked.operands[0] <= 60


def test_the_reader_of_this_test_sees_a_wrong_equation() -> None:
    assert read_working("With 7 more eggs there are 12+7=19 eggs. The answer is 19.").right
    assert not read_working("With 7 more eggs there are 12+7=18 eggs. The answer is 18.").right
    assert not read_working("With 7 more eggs there are 12+7=19 eggs. The answer is 18.").right


def test_questions_tell_the_operands_of_their_working(trained: list, world: World, examined: dict) -> None:
    told = trained + [
        (row["question"], examined[row["id"]]) for t in ("word", "hard") for row in world.exam(f"village-{t}")
    ]
    for question, worked in told:
        said = list(worked.operands)
        for position, name in enumerate(worked.order, 1):
            if name in ("double", "halve"):
                said[position] = 0
        assert [int(n) for n in re.findall(r"\d+", question)] == [n for n in said if n]


def test_training_holds_no_exam_operands(trained: list, examined: dict) -> None:
    exam = {worked.operands for worked in examined.values()}
    assert len(exam) == 2 * (SMALL.num_exam_items + SMALL.num_dev_items)
    for _, worked in trained:
        assert not [n for n in range(3, 6) if worked.operands[:n] in exam]


def test_training_holds_no_exam_order_not_even_inside(trained: list, examined: dict) -> None:
    exam = {worked.order for worked in examined.values() if len(worked.order) > 2}
    assert {len(order) for order in exam} == {3, 4} and len(exam) > 50
    seen = {worked.order for _, worked in trained}
    assert {len(order) for order in seen} == {1, 2, 3, 4}
    windows = {order[i : i + n] for order in seen for n in (3, 4) for i in range(len(order) - n + 1)}
    assert len(windows) > 100 and not windows & exam


def test_training_stories_pair_no_person_and_goods_of_the_exams(trained: list, world: World) -> None:
    def pair(question: str) -> tuple[str, str]:
        words = re.findall(r"\w+", question)
        return next(w for w in words if w in PUPILS), next((w for w in words if w in GOODS), "coins")

    exam = {pair(row["question"]) for task in ("word", "hard") for row in world.exam(f"village-{task}")}
    assert len(exam) > 20
    assert not exam & {pair(question) for question, _ in trained}


def test_exam_answers_are_those_of_the_working(world: World, examined: dict) -> None:
    workings = {row["id"]: row["working"] for row in world.rows("exam-truth.jsonl")}
    for task, steps in (("village-word", {2}), ("village-hard", {3, 4})):
        rows = world.exam(task)
        assert {row["steps"] for row in rows} == steps
        for row in rows:
            assert row["steps"] == len(examined[row["id"]].order)
            assert workings[row["id"]].endswith(f"The answer is {row['answer']}.")


def test_orders_are_sensible_and_split_in_about_the_stated_share() -> None:
    arithmetic = Arithmetic(SEED)
    for steps in (3, 4):
        every = set(orders(steps))
        exam, training = set(arithmetic.exam_orders[steps]), set(arithmetic.training_orders[steps])
        assert not exam & training
        assert 0.15 < len(exam) / len(every) < 0.35
        assert all("bags" not in o[1:] and o.count("price") <= 1 for o in every)
        assert all(name not in ("change", "goal") for o in every for name in o[:-1])


def test_held_out_operands_are_one_part_in_eight() -> None:
    arithmetic = Arithmetic(SEED)
    held = sum(arithmetic.operands_held_out((a, b, c)) for a in range(20) for b in range(20) for c in range(20))
    assert abs(held / 8000 - 1 / 8) < 0.015


def test_another_seed_holds_out_other_orders() -> None:
    assert Arithmetic(0).exam_orders[3] != Arithmetic(1).exam_orders[3]


def test_products_stay_within_the_tables() -> None:
    arithmetic, chance = Arithmetic(SEED), Chance(1, "products")
    for _ in range(2000):
        problem = training_problem(arithmetic, {1: 1, 2: 1, 3: 1, 4: 1}, chance)
        for a, b in re.findall(r"(\d+)\*(\d+)", problem.working):
            assert int(b) == 2 or (int(a) <= 12 and int(b) <= 12)


def test_too_many_exam_items_are_refused() -> None:
    with pytest.raises(ConfigError, match="fewer exam items"):
        exam_problems(Arithmetic(0, operand_split=10**9), (2,), 5, Chance(0))
    with pytest.raises(ConfigError, match="at least 2"):
        Arithmetic(0, operand_split=1)
