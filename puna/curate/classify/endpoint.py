"""A labeller behind HTTP: any server that speaks OpenAI's chat completions (a vLLM of your own, a provider's)."""

import http.client
import json
import os
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from pydantic import Field

from puna.base.config import Config, Hardware
from puna.base.errors import ConfigError, RunError
from puna.curate.classify.asking import Ask

_BUSY = (408, 425, 429, 500, 502, 503, 504)
_SHOWN_CHARS = 200
_LONGEST_WAIT_S = 60.0


class Endpoint(Config):
    """Where and how to ask. base_url: up to /chat/completions; key_variable: the environment variable of the key.

    A request that fails for a reason that may pass is made `tries` times, after pause_s, twice that, four times that.
    """

    base_url: str = ""
    model: str = ""
    key_variable: str = ""
    max_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    timeout_s: Annotated[float, Hardware] = Field(default=120.0, gt=0)
    tries: Annotated[int, Hardware] = Field(default=5, ge=1)
    pause_s: Annotated[float, Hardware] = Field(default=1.0, ge=0)
    concurrency: Annotated[int, Hardware] = Field(default=8, ge=1)


def endpoint(settings: Endpoint) -> Ask:
    """A callable that asks `settings.concurrency` prompts at a time.

    Raises ConfigError if address, model or key are missing; the callable raises RunError if the server refuses.
    """
    place = urllib.parse.urlsplit(settings.base_url)
    if place.scheme not in ("http", "https") or not place.hostname or not settings.model:
        raise ConfigError(
            "endpoint: expected a base_url (such as http://localhost:8000/v1) and a model, "
            f"came {settings.base_url!r} and {settings.model!r}"
        )
    key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
    if settings.key_variable and not key:
        raise ConfigError(f"endpoint.key_variable: expected a key in ${settings.key_variable}, came none; export it")

    def ask(prompts: Sequence[str]) -> Iterator[str]:
        with ThreadPoolExecutor(settings.concurrency, thread_name_prefix="endpoint") as threads:
            yield from threads.map(lambda prompt: _ask(settings, place, key, prompt), prompts)

    return ask


def _ask(settings: Endpoint, place: urllib.parse.SplitResult, key: str, prompt: str) -> str:
    """One answer. Raises RunError after the last try, or at once for what another try cannot mend."""
    body = {
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
    }
    problem = ""
    for number in range(settings.tries):
        wait = settings.pause_s * 2**number
        try:
            status, answer, asked_wait = _post(settings, place, key, body)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if status == http.HTTPStatus.OK:
                return _content(answer, settings)
            problem = f"status {status}: {answer[:_SHOWN_CHARS].decode('utf-8', 'replace')}"
            if status not in _BUSY:
                break
            wait = max(wait, asked_wait)
        if number + 1 < settings.tries:
            time.sleep(min(_LONGEST_WAIT_S, wait))
    raise RunError(
        f"expected an answer of {settings.base_url}, came {' '.join(problem.split())}; "
        "run again once it answers: what was answered is kept"
    )


def _post(
    settings: Endpoint, place: urllib.parse.SplitResult, key: str, body: dict[str, Any]
) -> tuple[int, bytes, float]:
    """Status, body, and the seconds that the server asks to wait."""
    make = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = make(str(place.hostname), place.port, timeout=settings.timeout_s)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        path = place.path.rstrip("/") + "/chat/completions"
        connection.request("POST", path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        wait = response.headers.get("Retry-After") or ""
        return response.status, response.read(), float(wait) if wait.isdigit() else 0.0
    finally:
        connection.close()


def _content(answer: bytes, settings: Endpoint) -> str:
    try:
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        shown = answer[:_SHOWN_CHARS].decode("utf-8", "replace")
        raise RunError(
            f"expected a chat completion of {settings.base_url}, came {' '.join(shown.split())!r}; check base_url"
        ) from None
    return content if isinstance(content, str) else ""
