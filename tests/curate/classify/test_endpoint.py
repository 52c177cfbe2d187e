"""Against a server of the standard library: answers, waiting, giving up, and going on after a kill."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import ConfigError, RunError
from puna.base.output import StageOutput
from puna.curate.classify import label as stage
from puna.curate.classify.asking import ask_all
from puna.curate.classify.endpoint import Endpoint, endpoint
from puna.curate.classify.label import LabelConfig
from puna.curate.classify.labels import read_labels
from puna.curate.classify.rubric import Rubric, Verdict
from tests.curate.classify.artifacts import make_documents, run_stage, write_artifact


class _Server(ThreadingHTTPServer):
    """Answers by the document's words; `failures` are the statuses that come first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failures: list[int] = []
        self.most = 10**9
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            failure = self.server.failures.pop(0) if self.server.failures else 0
            if len(self.server.asked) >= self.server.most:
                failure = 400
            if not failure:
                self.server.asked.append(body)
                self.server.keys.append(self.headers["Authorization"])
        if failure or self.path != "/v1/chat/completions":
            self._send(failure or 404, b"not now")
            return
        quality = 0 if "cheap" in body["messages"][0]["content"] else 4
        content = f"Quality: {quality}\nDomain: law\nToxic: no"
        self._send(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def _settings(server: _Server, path: str = "/v1", **more: Any) -> Endpoint:
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    return Endpoint.model_validate({"base_url": url, "model": "a-model", "pause_s": 0, "tries": 3, **more})


def test_answers_come_in_the_order_of_the_prompts(server: _Server) -> None:
    prompts = ["cheap" if number % 3 else "dear" for number in range(20)]
    answers = list(endpoint(_settings(server, concurrency=4))(prompts))
    assert [Rubric().parse(answer).quality for answer in answers] == [0 if "cheap" in one else 4 for one in prompts]
    body = server.asked[0]
    assert (body["model"], body["temperature"], body["messages"][0]["role"]) == ("a-model", 0.0, "user")
    assert set(server.keys) == {None}


def test_the_key_is_taken_from_the_environment(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(server, key_variable="A_KEY")
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"expected a key in \$A_KEY"):
        endpoint(settings)
    monkeypatch.setenv("A_KEY", "hush")
    list(endpoint(settings)(["x"]))
    assert server.keys == ["Bearer hush"]


def test_a_busy_server_is_asked_again(server: _Server) -> None:
    server.failures = [503, 429]
    assert len(list(endpoint(_settings(server, concurrency=1))(["x"]))) == 1


@pytest.mark.parametrize(
    ("failures", "path", "message", "left"),
    [
        ([500, 500, 500, 500], "/v1", "came status 500: not now", 1),
        ([401, 401], "/v1", "came status 401: not now", 1),
        ([], "/v2", "came status 404", 0),
    ],
)
def test_a_server_that_refuses_is_named(
    server: _Server, failures: list[int], path: str, message: str, left: int
) -> None:
    server.failures = failures
    with pytest.raises(RunError, match=message):
        list(endpoint(_settings(server, path))(["x"]))
    assert len(server.failures) == left


def test_nobody_there() -> None:
    settings = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", tries=2, pause_s=0)
    with pytest.raises(RunError, match="ConnectionRefusedError"):
        list(endpoint(settings)(["x"]))


def test_a_labelling_that_ended_goes_on_where_it_was(server: _Server, tmp_path: Path) -> None:
    documents = make_documents(30)
    folder = write_artifact(tmp_path / "curate", documents, heldout=2, rejects=0)
    settings = _settings(server, concurrency=1).model_dump()
    config = LabelConfig.model_validate(
        {
            "labeller": "endpoint",
            "endpoint": settings,
            "sample": {"documents": 20},
            "rubric": {"domains": ["law", "maths"]},
        }
    )
    server.most = 12
    with pytest.raises(RunError, match="what was answered is kept"):
        run_stage(stage, config, {"documents": folder}, tmp_path / "out")
    server.most = 10**9
    with open(tmp_path / "out/state/answers.jsonl", "a") as file:
        file.write('{"id": "cut o')  # killed in the middle of a line
    out = run_stage(stage, config, {"documents": folder}, tmp_path / "out")
    assert len(server.asked) == 20
    assert len({body["messages"][0]["content"] for body in server.asked}) == 20
    labels = read_labels(tmp_path / "out/files")
    texts = {document.id: document.text for document in documents}
    assert [one.said for one in labels] == [
        Verdict(0 if "cheap" in texts[one.id] else 4, "law", False) for one in labels
    ]
    assert out.metrics["quality_unreadable"] == 0
    lines = (tmp_path / "out/state/answers.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == {one.id for one in labels}  # what was cut off is gone


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    documents = make_documents(4)
    answers = iter(["Quality: 3\nDomain: law\nToxic: no", "I would rather not.", "Quality: 9", "Toxic: yes"])
    labels = ask_all(
        documents, Rubric(), lambda prompts: [next(answers) for _ in prompts], "me", tmp_path / "a", batch=3
    )
    assert [one.said for one in labels] == [Verdict(3, "law", False), Verdict(), Verdict(), Verdict(toxic=True)]
    out = StageOutput(tmp_path / "out")
    from puna.base.output import Inputs

    stage.show(labels, Inputs({}), out)
    assert (out.metrics["quality_unreadable"], out.metrics["toxic_unreadable"]) == (0.75, 0.5)


def test_how_to_ask_is_no_part_of_what_is_asked() -> None:
    config = LabelConfig.model_validate(
        {"labeller": "endpoint", "endpoint": {"base_url": "http://a", "concurrency": 3}}
    )
    assert "concurrency" not in config.resolved(hardware=False)["endpoint"]
    assert config.resolved()["endpoint"]["concurrency"] == 3
