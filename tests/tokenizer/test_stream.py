from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.stream import TextStream

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")


@st.composite
def chunks(draw, data):
    """`data` cut anywhere, into pieces of no, one or more bytes."""
    whole = draw(data)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=len(whole) + 3)))
    return [whole[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(whole)])]


def streamed(parts):
    stream = TextStream()
    return [*map(stream.add_bytes, parts), stream.end()]


@given(parts=chunks(st.text(characters).map(str.encode)))
def test_characters_come_whole_and_as_early_as_they_can(parts):
    pieces = streamed(parts)
    come = b""
    for number, part in enumerate(parts):
        come += part
        # All whole characters of what has come so far, and nothing of the one that has not come whole.
        assert "".join(pieces[: number + 1]) == come.decode(errors="ignore")
    assert pieces[-1] == ""


@given(parts=chunks(st.binary(max_size=40) | st.text(characters, max_size=9).map(lambda text: text.encode()[1:-1])))
def test_any_bytes_give_the_text_decoded_at_once(parts):
    assert "".join(streamed(parts)) == b"".join(parts).decode(errors="replace")


@given(text=st.text(characters) | st.text("🦙村é\u0301", min_size=1))
def test_ids_give_their_text(tokenizer, text):
    stream = TextStream()
    ids = tokenizer.encode(text)
    pieces = [stream.add(tokenizer, [token]) for token in [*ids, tokenizer.eot_id]] + [stream.end()]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
