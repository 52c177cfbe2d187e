import pytest

from benchmarks.extraction import Page, article_scores, segment_scores, site


def test_site_is_the_registered_name() -> None:
    assert site("https://www.blog.example.com/a") == "example.com"
    assert site("http://news.example.co.uk/b") == "example.co.uk"
    assert site("https://example.de") == "example.de"


def test_a_site_is_in_one_half() -> None:
    halves = {Page(f"https://{name}.example.com/x", b"").half for name in ("a", "b", "www", "c.d")}
    assert len(halves) == 1
    both = {Page(f"https://example{n}.com/", b"").half for n in range(20)}
    assert both == {"dev", "test"}


def test_article_scores_by_hand() -> None:
    """Two of the 4-grams abcd bcde cdef (found) are in abcd bcde (true); an empty page counts for recall only."""
    found = article_scores([("a b c d e f", "a b, c d e"), ("", "x y z w")])
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx((1 + 0) / 2)
    assert found["f1"] == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_short_texts_and_repeats_count_as_bags() -> None:
    assert article_scores([("a b", "a b")])["f1"] == 1
    assert article_scores([("a b c d a b c d", "a b c d")])["precision"] == pytest.approx(1 / 5)


def test_segment_scores_by_hand() -> None:
    page = Page("", b"", None, ("one two", "three"), ("menu", "footer"))
    found = segment_scores([("one\n two and menu", page)])
    assert (found["precision"], found["recall"]) == (0.5, 0.5)
