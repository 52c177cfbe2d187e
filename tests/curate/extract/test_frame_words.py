import pytest

from puna.curate.extract.frame_words import begins_frame, frame_share


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("The river rose in the night", 0),
        ("Comments", 4),
        ("COMMENTS (3)", 4),
        ("Kategorie: Reise", 4),
        ("Share the river", 3),
        ("They read it out to everybody there", 1),
        ("Please leave a reply below", 2),
        ("Commentators", 0),
    ],
)
def test_share_of_frame_words(text: str, share: int) -> None:
    assert frame_share(text, len(text)) == share


def test_long_texts_are_not_asked() -> None:
    text = "comments " * 44
    assert frame_share(text, 399) == 4
    assert frame_share(text, 400) == 0


def test_headings_of_the_frame() -> None:
    assert begins_frame("Related posts", 13)
    assert not begins_frame("How the mill was built", 22)
    assert not begins_frame("Related posts", 80)
