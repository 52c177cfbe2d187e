import gzip
import json

import pytest

from puna.base.errors import DataError
from puna.base.records import Document, write_documents
from puna.tokenizer.samples import Sample, read_samples


def test_every_form_gives_its_texts_languages_and_domains(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    document = Document(id="1", text="uno", lang="es", source="web")
    write_documents(folder / "documents-00000.parquet", [document, Document(id="2", text="two")])
    (folder / "e.jsonl.gz").write_bytes(
        gzip.compress(b'{"text": "three", "lang": "en", "source": "x"}\n{"text": "four"}')
    )
    squad = {"data": [{"paragraphs": [{"context": "fünf"}, {"context": "sechs"}]}]}
    (folder / "f.de.json").write_text(json.dumps(squad))
    (folder / "g.tsv").write_text('lang\ttext\nfra\t"sept\n')
    (folder / "h.txt").write_text("eight\n")
    (folder / "i.bin").write_bytes(b"\xff")
    expected = [
        Sample("es", "web", "uno"), Sample("?", "mine", "two"), Sample("en", "x", "three"), Sample("?", "mine", "four"),
        Sample("de", "mine", "fünf"), Sample("de", "mine", "sechs"), Sample("fra", "mine", '"sept'),
        Sample("?", "mine", "eight\n"),
    ]  # fmt: skip
    assert list(read_samples([str(folder)])) == expected
    named = list(read_samples([f"en={folder / 'h.txt'}", f"xx={folder / 'f.de.json'}"]))
    assert named == [Sample("en", "h", "eight\n"), Sample("xx", "f", "fünf"), Sample("xx", "f", "sechs")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"txt": "x"}\n', "a.jsonl: row 1: expected a text under the key text, came NoneType"),
        ("a.json", b'{"data": 3}', "a.json: expected JSON in SQuAD's form"),
        ("a.tsv", b"lang\tsaid\nen\thi\n", "a.tsv: row 1: expected a text under the key text"),
        ("a.txt", b"\xff", "a.txt: expected UTF-8, came"),
        ("a.bin", b"x", "expected a text at .*a.bin (.*), found none"),
        ("missing/b.txt", b"x", "expected a text at .*missing (.*), found none"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if "/" in name:
        path = path.parent
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message.replace("(", r"\(").replace(")", r"\)")):
        list(read_samples([str(path)]))
