"""Question pages: how many questions about facts offer choices."""

import pytest

from puna.world.chance import Chance
from puna.world.facts import make_facts
from puna.world.questions import question_page


@pytest.mark.parametrize("quiz_share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_fact_questions_with_choices_is_the_one_asked_for(quiz_share: float) -> None:
    facts = [fact for fact in make_facts(3, 24, 12, 12) if fact.asked]
    chance = Chance(5, "pages")
    offered, num_questions = 0, 0
    for _ in range(400):
        _, blocks, items = question_page(facts, quiz_share, chance)
        for item in items:
            block = next(block for block in blocks if block.startswith(f"Question: {item.question}\n"))
            offered += "\nThe choices are " in block
            num_questions += 1
    # Five standard errors of a share of some 1,500 questions; none at 0 and 1.
    margin = 5 * (quiz_share * (1 - quiz_share) / num_questions) ** 0.5
    assert num_questions > 1_000 and abs(offered / num_questions - quiz_share) <= margin
