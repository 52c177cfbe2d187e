"""Addresses: what is listed, read and fingerprinted, from a server of our own and from fsspec's memory."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from puna.base import remote
from puna.base.errors import DataError, InputError, RunError
from puna.base.remote import is_url, list_remote, open_remote, remote_fingerprint

CONTENT = bytes(range(256)) * 4000


class Server(http.server.BaseHTTPRequestHandler):
    """One file. It breaks off `breaks` times after 300,000 bytes; with `ranges` it answers for parts."""

    breaks, ranges, etag = 0, False, '"one"'

    def do_HEAD(self) -> None:
        self._head(200, len(CONTENT))

    def do_GET(self) -> None:
        if self.path != "/file.bin?key=secret" and self.path != "/file.bin":
            self.send_error(404)
            return
        begin, end = 0, len(CONTENT)
        asked = self.headers.get("Range", "")
        if type(self).ranges and asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(end, int(last) + 1 if last else end)
        self._head(206 if type(self).ranges and asked else 200, end - begin, f"bytes {begin}-{end - 1}/{len(CONTENT)}")
        if type(self).breaks > 0 and end - begin > 300_000:
            type(self).breaks -= 1
            self.wfile.write(CONTENT[begin : begin + 300_000])
            self.close_connection = True
            return
        self.wfile.write(CONTENT[begin:end])

    def _head(self, status: int, size: int, part: str = "") -> None:
        if not self.path.startswith("/file.bin"):
            self.send_error(404)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", type(self).etag)
        if type(self).ranges:
            self.send_header("Accept-Ranges", "bytes")
            if status == 206:
                self.send_header("Content-Range", part)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    pytest.importorskip("aiohttp", reason="addresses of http want the extra `remote`")
    monkeypatch.setattr(remote, "_wait", lambda seconds: None)

    class Handler(Server):
        pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    Handler.url = f"http://127.0.0.1:{serving.server_port}/file.bin"  # type: ignore[attr-defined]
    yield Handler
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture
def memory() -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name in ("b.txt", "sub/a.txt", "c.txt"):
        system.pipe(f"/crawl/{name}", name.encode())
    yield "memory://crawl"
    system.rm("/crawl", recursive=True)


@pytest.mark.parametrize(
    ("place", "expected"), [("s3://b/x", True), ("http://h/", True), ("a/b", False), ("C:/x", False)]
)
def test_what_an_address_is(place: str, expected: bool) -> None:
    assert is_url(place) is expected


@pytest.mark.parametrize("ranges", [False, True])
def test_a_file_of_a_server_comes_whole_though_it_breaks_off(server: type[Server], ranges: bool) -> None:
    server.ranges, server.breaks = ranges, 2
    (file,) = list_remote(server.url)  # type: ignore[attr-defined]
    assert (file.name, file.size) == ("file.bin", len(CONTENT))
    with open_remote(file.url, file.size) as stream:
        parts = []
        while part := stream.read(70_001):
            parts.append(part)
    assert b"".join(parts) == CONTENT
    assert server.breaks == 0


def test_a_file_that_never_comes_ends_the_run_and_loses_nothing(server: type[Server]) -> None:
    server.breaks = 1000
    with (
        open_remote(server.url, len(CONTENT)) as stream,
        pytest.raises(RunError, match="5 tries.*run the same command"),
    ):  # type: ignore[attr-defined]
        stream.read(len(CONTENT))


def test_the_fingerprint_is_that_of_the_version(server: type[Server]) -> None:
    url = server.url  # type: ignore[attr-defined]
    first, again = remote_fingerprint(url), remote_fingerprint(url)
    server.etag = '"two"'
    assert first == again != remote_fingerprint(url)


def test_a_wrong_address_is_one_line_without_its_secrets(server: type[Server]) -> None:
    wrong = server.url.replace("file.bin", "none.bin?key=secret")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"none\.bin, found none, or no server; check the address") as error:
        list_remote(wrong)
    assert "secret" not in str(error.value)
    with pytest.raises(DataError, match="no server"):
        list_remote("http://127.0.0.1:9/file.bin")
    with pytest.raises(DataError, match="an address that fsspec knows"):
        list_remote("nonsense://file.bin")


def test_folders_of_a_store(memory: str) -> None:
    assert [(file.name, file.size) for file in list_remote(memory)] == [("b.txt", 5), ("c.txt", 5), ("sub/a.txt", 9)]
    assert [open_remote(file.url).read() for file in list_remote(memory)] == [b"b.txt", b"c.txt", b"sub/a.txt"]
    with pytest.raises(DataError, match="found none"):
        list_remote("memory://nothing/here")


def test_a_folder_that_changes_has_another_fingerprint(memory: str) -> None:
    import fsspec

    first = remote_fingerprint(memory)
    assert first == remote_fingerprint(memory)
    fsspec.filesystem("memory").pipe("/crawl/b.txt", b"longer")
    assert remote_fingerprint(memory) != first


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "_system", missing)
    with pytest.raises(
        InputError, match=r"s3:// needs a missing library \(Install s3fs to access S3\): pip install 'puna"
    ):
        list_remote("s3://bucket/key")
