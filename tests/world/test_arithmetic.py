"""Word problems solved from their stories: right equations, small numbers, and nothing held out in training."""

import itertools
import re

import pytest
from scipy.stats import binom

from puna.base.errors import ConfigError
from puna.posttrain.preferences import preference_of
from puna.world.arithmetic import Arithmetic, orders
from puna.world.chance import Chance
from puna.world.lexicon import CONTAINERS, GOODS, PUPILS
from puna.world.preferences import make_preferences
from puna.world.problems import exam_problems, training_problem
from puna.world.settings import WorldConfig
from puna.world.village import Village
from tests.world.conftest import LARGER, SEED, SMALL, Worked, World, read_working, right_working

EVEN_STEPS = {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}


@pytest.fixture(scope="session", params=["world", "larger"])
def village(request: pytest.FixtureRequest) -> World:
    """The laws hold in the default world and in the one with everything."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def trained(village: World) -> list[tuple[str, Worked]]:
    """Question and solution of everything in crawl, dialogs and preferences."""
    blocks = village.training_blocks()
    assert len(blocks) > 900
    return [(question, read_working(question, working)) for question, working in blocks]


@pytest.fixture(scope="session")
def examined(village: World) -> dict[str, Worked]:
    questions = {row["id"]: row["question"] for task in ("word", "hard") for row in village.exam(f"village-{task}")}
    truth = village.rows("exam-truth.jsonl")
    assert len(truth) == len(questions)
    return {row["id"]: read_working(questions[row["id"]], row["working"]) for row in truth}


def drawn(config: WorldConfig, count: int) -> list[Worked]:
    """Training problems and problems of both exams, told and read back."""
    arithmetic, chance = Arithmetic(config, SEED), Chance(1, "drawn")
    problems = [training_problem(arithmetic, config, config.step_shares, chance) for _ in range(count)]
    for steps in ((2,), (3, 4)):
        problems += exam_problems(arithmetic, config, steps, count // 20, chance)
    return [read_working(problem.question, problem.working) for problem in problems]


def test_every_equation_is_right_and_numbers_are_small(trained: list, examined: dict, village: World) -> None:
    for worked in [w for _, w in trained] + list(examined.values()):
        assert worked.right
        assert max(worked.operands + worked.values) <= 200 and worked.operands[0] <= village.config.largest_start


@pytest.mark.parametrize(
    "story, order, working",
    [
        ("Tom has 12 eggs. He finds 7 more eggs. How many eggs are there now?", "gain", "12+7=19. The answer is 19."),
        ("Ann has 9 nuts. A thief takes 4 nuts. How many nuts is that?", "lose", "9-4=5. The answer is 5."),
        ("Ann opens 3 jars with 4 nuts in each. How many nuts is that?", "bags", "3*4=12. The answer is 12."),
        (
            "Solve this. Ann has 3 nuts. Then she doubles the nuts. She hands half of the nuts to a child. "
            "How many nuts is that?",
            "double halve",
            "3*2=6. 6/2=3. The answer is 3.",
        ),
        (
            "Ben has 20 cards. The cards go into 5 equal heaps, and Ben keeps one heap. He needs 9 cards in all. "
            "How many cards does Ben still need? Show your work.",
            "share goal",
            "20/5=4. 9-4=5. The answer is 5.",
        ),
        (
            "Ben has 4 cakes. Each of the cakes brings 3 coins. Ben takes a note of 20 coins from the buyer. "
            "How much change does the buyer get?",
            "price change",
            "4*3=12. 20-12=8. The answer is 8.",
        ),
    ],
)
def test_the_reader_of_these_tests_solves_a_story_and_sees_a_wrong_answer(story: str, order: str, working: str) -> None:
    worked = read_working(story, working)
    assert worked.right and worked.order == tuple(order.split())
    for i, sign in ((i, c) for i, c in enumerate(working) if c in "0123456789+-*/"):
        other = "+" if sign == "-" else "-" if not sign.isdigit() else str((int(sign) + 1) % 10)
        assert not read_working(story, working[:i] + other + working[i + 1 :]).right
    assert not read_working(story, working[working.index(".") + 2 :]).right
    number = working.split()[-1]
    assert not read_working(story, f"The answer is {number}").right
    assert not read_working(re.sub(r"How [^?]*", "How many shells are there now", story), working).right


def test_the_reader_of_these_tests_refuses_what_it_does_not_know() -> None:
    for story in ("Tom has 12 eggs. He paints 7 eggs.", "Tom has 12 eggs. He finds 7 more eggs of 9."):
        with pytest.raises(ValueError):
            read_working(f"{story} How many eggs are there now?", "12+7=19. The answer is 19.")


def test_no_word_problem_of_training_escapes_the_reader(village: World) -> None:
    dialogs = [row for row in village.rows("dialogs/train.jsonl") if row["source"] == "world/word"]
    assert len(village.dialog_blocks()) == len(dialogs) > 150
    pages = [row["text"] for row in village.rows("truth.jsonl") if row["keep"] and row["kind"] == "arithmetic"]
    blocks = set(village.page_blocks())
    for text in pages:
        for part in text.split("\n\n")[1:]:
            if part.startswith("Question: "):
                assert tuple(part.removeprefix("Question: ").split("\nAnswer: ")) in blocks
    assert len(village.judged_blocks()) == sum(i % 7 in (0, 1, 6) for i in range(village.config.num_preferences))
    items = {item["question"] for item in village.rows("training-items.jsonl") if item["task"] != "village-choice"}
    assert len(items) > 700 and items <= {question for question, _ in blocks} | {
        question[question.index(story) :][: len(story)]
        for question, _ in village.dialog_blocks()
        for story in [re.search(r"(?:[A-Z][a-z ]+\. )?(.*\?)", question).group(1)]  # type: ignore[union-attr]
    }


def test_dialogs_and_preferences_have_step_shares_of_their_own() -> None:
    def steps(**changes: dict[int, float]) -> list[set[int]]:
        config = SMALL.model_copy(update={"num_preferences": 60, "num_dialogs": 200, **changes})
        made = Village(config, SEED)
        rows = make_preferences(config, made.facts, made.arithmetic, SEED)
        told = [row["chosen"] if not row["error"] else row["rejected"] for row in rows if row["kind"] == "wrong-step"]
        said = [row["messages"][-1]["content"] for row in made.dialogs[0] if row["source"] == "world/word"]
        problem = training_problem(made.arithmetic, config, config.step_shares, Chance(1))
        return [{text.count("=") for text in texts} for texts in (told, said, [problem.working])]

    assert steps(step_shares={4: 1.0}, dialog_step_shares={1: 1.0}) == [{1}, {1}, {4}]
    assert steps(step_shares={3: 1.0}) == [{3}, {3}, {3}]


def test_preferences_set_a_right_working_against_a_wrong_or_a_bare_one(village: World) -> None:
    kinds = {"wrong": 0, "bare": 0}
    for question, better, worse, _ in village.judged_blocks():
        worked = read_working(question, better)
        if worked.right:
            equations = wrong_or_no_equations(better, worse)
            assert len(equations) in (0, len(worked.order))
            kinds["wrong" if equations else "bare"] += 1
    assert kinds["wrong"] == kinds["bare"] > 50


def wrong_or_no_equations(right: str, worse: str) -> list[str]:
    """The equations of a worse answer: none, or the right ones up to a slip in the last and the answer with it."""
    *before, last = right.split(". ")[:-1]
    *equations, final = worse.rstrip(".").split(". ")
    assert (final == f"The answer is {last.split('=')[1]}") == (not equations)
    if equations:
        assert equations[:-1] == before
        assert equations[-1].split("=") == [last.split("=")[0], final.removeprefix("The answer is ")]
    return equations


def test_an_edited_answer_is_the_right_working_where_both_shown_answers_are_wrong(village: World) -> None:
    """The better of such a pair ends in a wrong number after right equations, the worse has a slip in the last."""
    found = edits = 0
    for question, better, worse, edited in village.judged_blocks():
        working = right_working(better)
        assert read_working(question, working).right
        if better == working:
            assert not edited
            continue
        assert wrong_or_no_equations(working, worse) and len({better, worse, working}) == 3
        assert edited in ("", working)
        found, edits = found + 1, edits + bool(edited)
    rows = village.rows("dialogs/preferences.jsonl")
    assert found == sum(row["kind"] == "both-wrong" for row in rows) == village.config.num_preferences // 7
    assert edits == sum("edited" in row for row in rows)
    low, high = binom.interval(0.999, found, 0.5)
    assert low <= edits <= high
    assert any(row["error"] for row in rows if "edited" in row)


def test_no_preference_of_the_world_is_left_out_as_contradictory(village: World) -> None:
    for row in village.rows("dialogs/preferences.jsonl"):
        answers = preference_of(row).answers
        assert len(set(answers)) == len(answers) == 2 + ("edited" in row)


def test_operations_and_wordings_are_those_of_the_settings(trained: list, examined: dict, village: World) -> None:
    def wordings(solutions: list[Worked]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for worked in solutions:
            sentences = zip(("start", *worked.order), (worked.start, *worked.sentences), strict=True)
            for name, sentence in sentences:
                if sentence:
                    found.setdefault(name, set()).add(bare(sentence))
        return found

    def bare(sentence: str) -> str:
        sentence = re.sub(rf"\b({'|'.join(PUPILS)})\b", "N", sentence)
        sentence = re.sub(rf"\b({'|'.join([*GOODS, 'coins'])})\b", "G", sentence)
        sentence = re.sub(rf"\b({'|'.join(CONTAINERS)})\b", "K", sentence)
        sentence = sentence.replace("in the house", "at home")  # near-copies of pages put one for the other
        return re.sub(r"\d+", "1", re.sub(r"\b(He|he|She|she)\b", "P", sentence))

    config = village.config
    known = wordings(drawn(config.model_copy(update={"step_shares": {2: 1.0}}), 6000))  # 100 of the rarest operation
    assert {name: len(found) for name, found in known.items()} == dict.fromkeys(
        ("start", *config.operations), config.num_wordings
    )
    for told in wordings([worked for _, worked in trained]), wordings(list(examined.values())):
        assert set(told) == set(known)
        assert all(told[name] <= known[name] for name in known)


@pytest.mark.parametrize("operations", [("gain", "lose", "double"), ("bags", "share", "halve", "goal")])
def test_only_the_named_operations_occur(operations: tuple[str, ...]) -> None:
    config = WorldConfig(operations=operations, step_shares=EVEN_STEPS, order_split=3)
    assert {name for worked in drawn(config, 500) for name in worked.order} == set(operations)


@pytest.mark.parametrize("largest", [10, 30, 60])
def test_the_largest_number_is_kept_and_reached(largest: int) -> None:
    config = LARGER.model_copy(update={"largest_start": largest, "largest_number": largest, "step_shares": EVEN_STEPS})
    starts, changes = [], []
    for worked in drawn(config, 3000):
        starts.append(worked.operands[0])
        for step, name in enumerate(worked.order):
            if name in ("gain", "lose", "goal"):
                changes.append(abs(worked.operands[step + 1] - (worked.values[step] if name == "goal" else 0)))
    assert max(starts) == max(changes) == largest


def test_questions_tell_the_operands_of_their_working(trained: list, village: World, examined: dict) -> None:
    told = trained + [
        (row["question"], examined[row["id"]]) for t in ("word", "hard") for row in village.exam(f"village-{t}")
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
    assert {len(order) for order in exam} == {3, 4} and len(exam) >= 50
    seen = {worked.order for _, worked in trained}
    assert {len(order) for order in seen} == {1, 2, 3, 4}
    windows = {order[i : i + n] for order in seen for n in (3, 4) for i in range(len(order) - n + 1)}
    assert len(windows) > 100 and not windows & exam


def test_training_stories_pair_no_person_and_goods_of_the_exams(trained: list, village: World) -> None:
    def pair(question: str) -> tuple[str, str]:
        words = re.findall(r"\w+", question)
        return next(w for w in words if w in PUPILS), next((w for w in words if w in GOODS), "coins")

    exam = {pair(row["question"]) for task in ("word", "hard") for row in village.exam(f"village-{task}")}
    assert len(exam) > 20
    assert not exam & {pair(question) for question, _ in trained}


def test_exam_answers_and_truth_are_those_of_the_story(village: World, examined: dict) -> None:
    for row in village.rows("exam-truth.jsonl"):
        worked = examined[row["id"]]
        assert (row["order"], row["operands"]) == (list(worked.order), list(worked.operands))
    for task, steps in (("village-word", {2}), ("village-hard", {3, 4})):
        rows = village.exam(task)
        assert {row["steps"] for row in rows} == steps
        for row in rows:
            assert row["steps"] == len(examined[row["id"]].order)
            assert row["answer"] == str(examined[row["id"]].values[-1])


@pytest.mark.parametrize("config", [SMALL, LARGER], ids=["default", "larger"])
def test_orders_are_sensible_and_split_in_about_the_stated_share(config: WorldConfig) -> None:
    arithmetic = Arithmetic(config, SEED)
    for steps in (3, 4):
        every = set(orders(steps, config.operations))
        exam, training = set(arithmetic.exam_orders[steps]), set(arithmetic.training_orders[steps])
        assert exam | training <= every and not exam & training
        assert 0.15 < len(exam) / len(every) < 0.35
        assert all("bags" not in o[1:] and o.count("price") <= 1 for o in every)
        assert all(name not in ("change", "goal") for o in every for name in o[:-1])
        pairs = {pair for o in every for pair in itertools.pairwise(o)}
        assert not pairs & {(name, name) for name in ("double", "halve", "share")}
        assert all(first == "price" for first, second in pairs if second == "change")
        assert all("change" not in o[:1] for o in every)


def test_held_out_operands_are_the_stated_part() -> None:
    arithmetic = Arithmetic(SMALL, SEED)
    held = sum(arithmetic.operands_held_out((a, b, c)) for a in range(20) for b in range(20) for c in range(20))
    assert abs(held / 8000 - 1 / 5) < 0.015


def test_another_seed_holds_out_other_orders() -> None:
    assert Arithmetic(SMALL, 0).exam_orders[3] != Arithmetic(SMALL, 1).exam_orders[3]


def test_products_stay_within_the_tables() -> None:
    config, chance = LARGER.model_copy(update={"step_shares": EVEN_STEPS}), Chance(1, "products")
    arithmetic = Arithmetic(config, SEED)
    for _ in range(2000):
        problem = training_problem(arithmetic, config, config.step_shares, chance)
        for a, b in re.findall(r"(\d+)\*(\d+)", problem.working):
            assert int(b) == 2 or (int(a) <= 12 and int(b) <= 12)


def test_too_many_exam_items_are_refused() -> None:
    config = WorldConfig(operand_split=10**9)
    with pytest.raises(ConfigError, match="fewer exam items"):
        exam_problems(Arithmetic(config, 0), config, (2,), 5, Chance(0))
