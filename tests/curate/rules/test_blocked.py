from puna.curate.rules.blocked import BlockedWords
from puna.curate.text.words import Words


def test_blocked_words_at_word_borders_and_as_phrases() -> None:
    blocked = BlockedWords(["ass", "big bad wolf", "坏蛋", ""])
    assert blocked.count(Words("A class of grass.")) == 0
    assert blocked.count(Words("An ASS, a Big  Bad\nwolf and a bad wolf")) == 2
    assert blocked.count(Words("他是坏蛋。")) == 1
    assert BlockedWords([]).count(Words("anything")) == 0
