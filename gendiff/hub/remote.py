"""The Hub as a server: what a repository holds, and its files, within bounded time.

huggingface_hub does the talking. Left alone it waits 23 s for a Hub that refuses connections and
minutes for one that is silent, and no argument changes that. So each of its calls runs in a
thread of its own; this side waits as long as it sees fit, and a call that is given up ends by
itself later, without harm: the cache only ever receives whole files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gendiff.hub.calls import Call, again, meter
from gendiff.hub.names import Name
from gendiff.hub.sentences import (
    Broken,
    Silent,
    Stopped,
    Withheld,
    in_a_sentence,
    nobody_there,
)
from gendiff.hub.settings import Settings

ANSWER = 8.0  # seconds for all that is asked before a download, name resolution included
QUIET = 4.0  # seconds without a byte before we ask whether the network is still there
DEAD = 9.0  # seconds without a byte, though the Hub is there, after which we give up
_TICK = 0.2
_CLOSED = ("ReadError", "WriteError", "CloseError")
_DROPPED = (*_CLOSED, "RemoteProtocolError")
# Bytes that huggingface_hub reads before it tells of them. With its own 10 MB a line of 1 MB/s is
# as quiet as a dead one, and Cancel is heard late.
_CHUNK = 1 << 14
_OFTEN = 4  # times its size: what has come of a file that always breaks off and begins again


@dataclass(frozen=True)
class File:
    """A file of a repository: its size in bytes, its sha256 if the Hub tells it (large files),
    and its git hash, which stands for smaller ones."""

    path: str
    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True)
class Listing:
    """A repository at one commit: its files by path."""

    sha: str
    files: Mapping[str, File]


@dataclass(frozen=True)
class Progress:
    """Bytes of `total` that are here."""

    done: int
    total: int


def deadline() -> float:
    """When the Hub must have told what is asked before a download (time.monotonic)."""
    return time.monotonic() + ANSWER


def listing(name: Name, settings: Settings, until: float | None = None) -> Listing:
    """What the repository holds at that revision (None: main). until: the `deadline`, if it has
    begun already.

    Raises:
        GendiffError: no network, no such repository or revision, not for us, a broken answer.
    """

    def ask() -> Listing:
        sha = name.revision
        if not name.pinned:
            sha = str(_get(f"{name.repo}/revision/{quote(sha or 'main', '')}", settings)["sha"])
        rows = [row for row in _get(f"{name.repo}/tree/{sha}", settings) if row["type"] == "file"]
        return Listing(
            str(sha),
            {
                row["path"]: File(
                    row["path"], int(row["size"]), (row.get("lfs") or {}).get("oid"), row["oid"]
                )
                for row in rows
            },
        )

    return _answer(Call(again(ask, *_DROPPED)), name, settings, until or deadline())


def text(name: Name, sha: str, file: File, settings: Settings, until: float) -> str:
    """What a small file says, before the `deadline`; GendiffError as `listing`."""

    def read() -> str:
        url = f"{settings.endpoint}/{name.repo}/resolve/{sha}/{quote(file.path)}"
        return _response(url, settings).content.decode("utf-8", "replace")

    return _answer(Call(again(read, *_DROPPED)), name, settings, until, file.path)


def download(
    name: Name,
    sha: str,
    file: File,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[int | Path]:
    """Fetch one file into the cache: bytes that are here so far, now and then; then its path.

    Closing the iterator, or `cancelled`, gives the transfer up.

    Raises:
        GendiffError: as `listing`, and for a transfer that breaks off, falls silent or finds no
            room.
    """
    if cancelled():
        raise in_a_sentence(Stopped(), name, settings)
    given_up = threading.Event()
    told = meter(given_up)
    # a body that ends too soon it has asked for again by itself
    call = Call(again(lambda: _cached(name, sha, file.path, settings, told), *_CLOSED))
    seen, heard, asked = 0, time.monotonic(), False
    try:
        while not call.done.wait(_TICK):
            if cancelled():
                raise Stopped
            # also without news: whoever waits here may want to stop
            yield min(told.count, file.size)
            if told.came > _OFTEN * file.size:
                raise Broken
            quiet = time.monotonic() - heard
            if told.heard != seen:
                seen, heard, asked = told.heard, time.monotonic(), False
            elif quiet > DEAD:
                raise Withheld
            elif quiet > QUIET and not asked:
                _still_there(settings)
                asked = True
        yield _arrived(call, settings)
    except Exception as error:
        raise in_a_sentence(error, name, settings, file.path) from error
    finally:
        given_up.set()


def _cached(name: Name, sha: str, path: str, settings: Settings, told: Any) -> Path:
    """A file of the repository, in the cache: huggingface_hub's own download, unbounded."""
    from huggingface_hub import constants, hf_hub_download

    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
    return Path(
        hf_hub_download(
            name.repo,
            path,
            revision=sha,
            cache_dir=settings.cache,
            endpoint=settings.endpoint,
            token=settings.token,
            etag_timeout=QUIET,
            tqdm_class=told,
        )
    )


def _arrived(call: Call, settings: Settings) -> Path:
    """Where the file is; what failed though the Hub is there failed at its file server."""
    try:
        return call.result()
    except Exception as error:
        if not nobody_there(error):
            raise
        _still_there(settings)
        raise Withheld from error


def _get(path: str, settings: Settings) -> Any:
    """What the Hub's API says about models/`path`: all pages of it, as one.

    Not by HfApi: its `list_repo_tree` tries again for 23 s where nobody is.
    """
    found, url = [], f"{settings.endpoint}/api/models/{path}"
    options: dict[str, Any] = {"params": {"recursive": "true", "expand": "false"}}
    while url:
        response = _response(url, settings, **options)
        if not str(response.url).startswith(settings.endpoint + "/"):
            raise ValueError("the listing was sent somewhere else")
        page = response.json()
        if not isinstance(page, list):
            return page
        found += page
        url, options = response.links.get("next", {}).get("url"), {}
        if url and not url.startswith(settings.endpoint + "/"):
            raise ValueError("the next page is somewhere else")
    return found


def _response(url: str, settings: Settings, **options: Any) -> Any:
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = build_hf_headers(token=settings.token)
    response = get_session().get(url, headers=headers, timeout=QUIET, **options)
    hf_raise_for_status(response)
    return response


def _still_there(settings: Settings) -> None:
    """Raises unless the Hub answers anything at all."""

    def ask() -> None:
        from huggingface_hub.utils import get_session

        get_session().head(settings.endpoint, timeout=QUIET)

    call = Call(ask)
    if not call.done.wait(QUIET + 1):
        raise Silent
    call.result()


def _answer(
    call: Call, name: Name, settings: Settings, until: float, file: str | None = None
) -> Any:
    try:
        if not call.done.wait(max(0.0, until - time.monotonic())):
            raise Silent
        return call.result()
    except Exception as error:
        raise in_a_sentence(error, name, settings, file) from error
