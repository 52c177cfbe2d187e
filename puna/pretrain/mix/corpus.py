"""Token shards of one or several folders as documents with domains: what a mix chooses from.

N documents, in the order of the folders' names.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from puna.base.errors import ConfigError, DataError
from puna.base.files import sha256_file
from puna.tokenizer.shards import INDEX_FILE, TokenShards


class Corpus:
    """The `train` or `heldout` shards of named token folders, one after the other by name.

    Raises ArtifactError for shards that are damaged or of another tokenizer than `fingerprint`.
    """

    def __init__(self, folders: Mapping[str, Path], part: str = "train", fingerprint: str | None = None) -> None:
        paths = {name: folders[name] / part for name in sorted(folders)}
        self.shards = {name: TokenShards(path, fingerprint) for name, path in paths.items()}
        self.digests = {name: sha256_file(path / INDEX_FILE) for name, path in paths.items()}
        fingerprints = {shards.index["tokenizer"] for shards in self.shards.values()}
        if len(fingerprints) > 1:
            raise ConfigError(f"expected tokens of one tokenizer, came of {len(fingerprints)}: {', '.join(folders)}")

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens that each document has to be learned [N]: one less than it holds, since the first follows nothing."""
        return np.concatenate([shards.lengths for shards in self.shards.values()]) - 1

    @cached_property
    def ids(self) -> list[str]:
        """The id of each document. Raises ConfigError if one occurs twice, as no repetition could be counted then."""
        ids = [one for shards in self.shards.values() for one in shards.labels("id")]
        if len(set(ids)) < len(ids):
            seen: set[str] = set()
            twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
            raise ConfigError(
                f"expected every document once in the tokens of a mix, came {twice} twice; set `repeat` of the tokens "
                "stage to nothing, and give no folder twice"
            )
        return ids

    def domains(self, by: str, groups: Mapping[str, Sequence[str]] | None = None, all_occur: bool = True) -> list[str]:
        """The domain of each document: the name of its folder (`input`), host or section of its address, or a label.

        groups: domains that join several values, "*" all that no group names. Raises ConfigError if a value stands in
        two groups or (`all_occur`) does not occur, or the tokens have no such label.
        """
        values = [value for name, shards in self.shards.items() for value in _values(by, name, shards)]
        return _grouped(values, groups or {}, all_occur)

    def tokens_by(self, domains: Sequence[str]) -> dict[str, int]:
        """Tokens to be learned of each domain, by name. Raises DataError if there are no documents."""
        if not domains:
            raise DataError("expected documents to mix, came none")
        names, places = np.unique(np.array(domains, dtype=object).astype(str), return_inverse=True)
        totals = np.bincount(places, self.sizes, len(names)).astype(np.int64)
        return dict(zip(names.tolist(), totals.tolist(), strict=True))


def token_folders(paths: Sequence[Path]) -> dict[str, Path]:
    """Token folders by the checksum of their training index, a name that no order or place changes.

    Raises ArtifactError if one has no token shards, ConfigError if the same tokens come twice.
    """
    named: dict[str, Path] = {}
    for path in paths:
        digest = sha256_file(TokenShards(path / "train").folder / INDEX_FILE)
        if digest in named:
            raise ConfigError(
                f"tokens: expected different token folders, came {named[digest]} and {path} with the same"
            )
        named[digest] = path
    return named


def _values(by: str, name: str, shards: TokenShards) -> list[str]:
    if by == "input":
        return [name] * len(shards)
    if by in ("host", "section"):
        parts = [urlsplit(url) for url in shards.labels("url")]
        return [part.netloc if by == "host" else part.path.strip("/").partition("/")[0] for part in parts]
    return shards.labels(by)


def _grouped(values: list[str], groups: Mapping[str, Sequence[str]], all_occur: bool) -> list[str]:
    domain_of: dict[str, str] = {}
    for domain, members in groups.items():
        for member in members:
            if member in domain_of:
                raise ConfigError(f"groups.{domain}: expected {member!r} in one group, came in {domain_of[member]} too")
            domain_of[member] = domain
    known = set(values)
    if all_occur and (unknown := domain_of.keys() - known - {"*"}):
        raise ConfigError(f"groups: expected values that occur ({_list(known)}), came {_list(unknown)}")
    others = domain_of.get("*")
    return [domain_of.get(value, others or value) for value in values]


def _list(names: set[str]) -> str:
    shown = sorted(names)[:12]
    return ", ".join(name or '""' for name in shown) + (", ..." if len(names) > len(shown) else "")
