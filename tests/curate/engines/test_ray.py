"""The Ray engine: byte-identical to the local one, also when an actor is killed in the middle of the run."""

import os
import signal
from pathlib import Path

import pytest

from puna.curate.engines import choose
from puna.curate.engines.pool import Cleaned
from puna.curate.engines.ray import RayCleaner
from puna.curate.read.records import Record
from tests.curate.pages import curate, files_of, html_page, sentences, write_warc

ray = pytest.importorskip("ray", reason="needs ray: pip install 'puna[ray]'")

# Ray's own threads and sockets are closed by its shutdown, later than pytest looks.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class KillingCleaner(RayCleaner):
    """Kills its actor's process when it is asked for the second time."""

    deaths = 0
    calls = 0

    def clean(self, records: list[Record]) -> Cleaned:
        KillingCleaner.calls += 1
        if KillingCleaner.calls == 2:
            os.kill(ray.get(self.actor.pid.remote()), signal.SIGKILL)
            KillingCleaner.deaths += 1
        return super().clean(records)


def test_byte_identical_with_an_actor_killed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [(f"https://a.example/{i}", html_page(sentences(i % 900, 8))) for i in range(1000)]
    write_warc(tmp_path / "crawl.warc.gz", pages)
    settings = {"rules": ["c4", "gopher_quality"], "record_seconds": 30}
    curate([tmp_path / "crawl.warc.gz"], tmp_path / "local", workers=2, **settings)
    monkeypatch.setattr(choose, "RayCleaner", KillingCleaner)
    curate([tmp_path / "crawl.warc.gz"], tmp_path / "ray", workers=2, engine="ray", **settings)
    assert KillingCleaner.deaths == 1 and KillingCleaner.calls == 4
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
    assert not ray.is_initialized()
