"""The crawl as fastwarc reads it, against the truth; and the truth against rules of the trade."""

import base64
import hashlib
import re
import zlib
from collections import Counter

from resiliparse.extract.html2text import extract_plain_text

from tests.world.conftest import World


def test_fastwarc_gives_every_page_of_the_truth(world: World) -> None:
    records, truth = world.records(), world.rows("truth.jsonl")
    assert Counter((url, date) for url, date, _, _ in records) == Counter((row["url"], row["date"]) for row in truth)
    bodies = {(url, date): (kind, body.decode(errors="replace")) for url, date, kind, body in records}
    for row in truth:
        kind, body = bodies[row["url"], row["date"]]
        if row["keep"] and row["kind"] != "code":
            assert kind == "text/html"
            for line in row["text"].split("\n"):
                assert line.replace("&", "&amp;").replace("'", "&#x27;") in body or line in body


def test_every_record_is_one_gzip_member_with_true_lengths_and_digests(world: World) -> None:
    """Read by ISO 28500 with zlib alone; fastwarc forgives a wrong length."""
    data = (world.folder / "crawl/village-00.warc.gz").read_bytes()
    kinds: Counter[str] = Counter()
    while data:
        assert data[4:8] == b"\0\0\0\0"  # the gzip time
        unpacker = zlib.decompressobj(31)
        head, _, rest = unpacker.decompress(data).partition(b"\r\n\r\n")
        version, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert version == "WARC/1.1" and re.fullmatch(r"<urn:uuid:[0-9a-f-]{36}>", fields["WARC-Record-ID"])
        assert rest[int(fields["Content-Length"]) :] == b"\r\n\r\n"
        if fields["WARC-Type"] == "response":
            http, _, body = rest[:-4].partition(b"\r\n\r\n")
            assert f"Content-Length: {len(body)}\r\n".encode() in http
            digest = base64.b32encode(hashlib.sha1(body).digest()).decode()
            assert fields["WARC-Payload-Digest"] == f"sha1:{digest}"
        kinds[fields["WARC-Type"]] += 1
        data = unpacker.unused_data
    assert kinds["warcinfo"] == 1 and kinds["response"] > 100


def test_an_independent_extractor_finds_the_main_text(world: World) -> None:
    bodies = {(url, date): body for url, date, _, body in world.records()}
    for row in world.rows("truth.jsonl"):
        if row["keep"] and row["kind"] in ("question", "arithmetic"):
            text = extract_plain_text(bodies[row["url"], row["date"]].decode(), main_content=True)
            blocks = [block for block in row["text"].split("\n\n") if block.startswith("Question:")]
            assert len(blocks) >= 2
            assert all(f"\n{block}" in text for block in blocks), row["url"]
            assert "cookie" not in text and "Imprint" not in text


def test_clean_english_pages_pass_the_usual_rules(world: World) -> None:
    """Gopher's counts on white-space words; a page of code or a note may miss one."""
    for row in world.rows("truth.jsonl"):
        if row["keep"] and row["kind"] in ("arithmetic", "article", "story", "question"):
            words = row["text"].split()
            assert len(words) >= 50
            assert 3 <= sum(map(len, words)) / len(words) <= 10
            assert sum(any(c.isalpha() for c in word) for word in words) / len(words) >= 0.8
            assert len({"the", "be", "to", "of", "and", "that", "have", "with"} & {w.lower() for w in words}) >= 2
            _title, *lines = [line for line in row["text"].split("\n") if line]
            assert all(line[-1] in '.?!"' and len(line.split()) >= 3 for line in lines)
            assert len(lines) == len(set(lines)) and not re.search(r"[{}]|lorem ipsum|javascript", row["text"], re.I)


def test_dirt_is_a_quarter_and_of_every_kind(world: World) -> None:
    truth = world.rows("truth.jsonl")
    kinds = Counter(row["dirt"][0] for row in truth if row["dirt"])
    assert len(kinds) == 12 and min(kinds.values()) >= 3
    assert 0.22 < sum(kinds.values()) / len(truth) < 0.30
    assert all(row["keep"] == (row["dirt"] in ([], ["personal"])) for row in truth)


def test_copies_and_versions_are_what_they_claim(world: World) -> None:
    truth = world.rows("truth.jsonl")
    originals = {row["url"]: row for row in truth if row["keep"]}
    near = []
    for row in truth:
        kind = row["dirt"][0] if row["dirt"] else ""
        if kind in ("exact-copy", "near-copy", "older-version"):
            twin = originals[row["duplicate_of"]]
            if kind == "exact-copy":
                assert row["text"] == twin["text"] and row["url"] != twin["url"]
            if kind == "older-version":
                assert row["url"] == twin["url"] and row["date"] < twin["date"]
            if kind == "near-copy":
                assert row["text"] != twin["text"] and row["url"] != twin["url"]
                assert re.findall(r"\d+", row["text"]) == re.findall(r"\d+", twin["text"])
                near += [similarity(row["text"], twin["text"])] if row["lang"] == "en" else []
    assert sorted(near)[len(near) // 2] > 0.8


def test_clean_pages_are_no_near_copies_of_each_other(world: World) -> None:
    clean = [row["text"] for row in world.rows("truth.jsonl") if row["keep"] and row["lang"] == "en"][:300]
    sets = [shingles(text) for text in clean]
    worst = max(len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i])
    assert worst < 0.5


def test_personal_data_stands_in_the_text_and_is_made_up(world: World) -> None:
    rows = [row for row in world.rows("truth.jsonl") if row["dirt"] == ["personal"]]
    found = [item for row in rows for item in row["personal"]]
    assert all(row["personal"] and all(item in row["text"] for item in row["personal"]) for row in rows)
    for item in found:
        assert item.endswith(".example") or re.fullmatch(r"\+1 555 01\d\d \d{4}|93\.184\.216\.\d+", item)


def test_mojibake_is_a_text_read_wrongly_twice(world: World) -> None:
    truth = world.rows("truth.jsonl")
    clean = {row["text"] for row in truth if row["keep"]}
    rows = [row for row in truth if row["dirt"] == ["mojibake"]]
    mended = [row["text"].encode("latin-1").decode().encode("latin-1").decode() for row in rows]
    assert rows and all(text in clean for text in mended)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of word 5-grams."""
    first, second = shingles(a), shingles(b)
    return len(first & second) / max(1, len(first | second))


def shingles(text: str) -> set[int]:
    words = text.split()
    return {hash(tuple(words[i : i + 5])) for i in range(len(words) - 4)}
