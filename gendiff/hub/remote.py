"""The Hub as a server: what a repository holds, and its files, within bounded time.

huggingface_hub does the talking. Left alone it waits minutes for a server that is silent, and no
argument changes that. So each of its calls runs in a thread of its own; this side waits as long
as it sees fit, and a call that is given up ends by itself later, without harm: the cache only
ever receives whole files, and no call closes the connections that all of them share.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gendiff.hub.calls import Call, meter
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

# Seconds from a press to a file's first byte, with all that is asked before and name resolution,
# and then from byte to byte, after which we give up.
DEAD = 9.0
QUIET = 4.0  # seconds that one request waits for its server
_TICK = 0.2
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
    """When we give up, if a person presses now and no byte comes (time.monotonic)."""
    return time.monotonic() + DEAD


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

    return _answer(Call(ask), name, settings, until or deadline())


def text(name: Name, sha: str, file: File, settings: Settings, until: float) -> str:
    """What a small file says, before the `deadline`; GendiffError as `listing`."""

    def read() -> str:
        url = f"{settings.endpoint}/{name.repo}/resolve/{sha}/{quote(file.path)}"
        return _response(url, settings).content.decode("utf-8", "replace")

    return _answer(Call(read), name, settings, until, file.path)


def download(
    name: Name,
    file: File,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
    until: float | None = None,
) -> Iterator[int | Path]:
    """Fetch one file into the cache: bytes that are here so far, now and then; then its path.

    Closing the iterator, or `cancelled`, gives the transfer up. name: with the commit. until: the
    `deadline` of the first byte, if it has begun already.

    Raises:
        GendiffError: as `listing`, and for a transfer that breaks off, falls silent or finds no
            room.
    """
    if cancelled():
        raise in_a_sentence(Stopped(), name, settings)
    given_up = threading.Event()
    told = meter(given_up)
    call = Call(lambda: _cached(name, file, settings, told))
    seen, until, asked = 0, until or deadline(), False
    try:
        while not call.done.wait(_TICK):
            if cancelled():
                raise Stopped
            # also without news: whoever waits here may want to stop
            yield min(told.count, file.size)
            if told.came > _OFTEN * file.size:
                raise Broken
            left = until - time.monotonic()
            if told.came != seen:
                seen, until, asked = told.came, deadline(), False
            elif left < 0:
                raise Withheld
            elif left < QUIET + 1 and not asked:
                _still_there(settings, until)
                asked = True
        yield _arrived(call, settings, until)
    except Exception as error:
        raise in_a_sentence(error, name, settings, file.path) from error
    finally:
        given_up.set()


def _cached(name: Name, file: File, settings: Settings, told: Any) -> Path:
    """A file of the repository, in the cache: huggingface_hub's own download, unbounded."""
    from huggingface_hub import constants, errors, hf_hub_download

    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
    # Xet, its other transfer, talks to servers of its own and writes beside the cache
    constants.HF_HUB_DISABLE_XET = True
    place = settings.folder(name.repo)
    blob = place / "blobs" / str(file.sha256 or file.git)
    here = blob.exists() or (place / "snapshots" / str(name.revision) / file.path).exists()
    try:
        path = hf_hub_download(
            name.repo,
            file.path,
            revision=name.revision,
            cache_dir=settings.cache,
            endpoint=settings.endpoint,
            token=settings.token,
            etag_timeout=DEAD,
            tqdm_class=told,
            # Else it asks a Hub that is gone for 23 s, and at each try closes the connections of
            # all calls, those in the middle of another file, too. What is here is not forced.
            force_download=not here,
        )
    except (errors.LocalEntryNotFoundError, ValueError) as error:
        raise (error.__cause__ or error) from None  # what its first request met
    return Path(path)


def _arrived(call: Call, settings: Settings, until: float) -> Path:
    """Where the file is; what failed though the Hub is there failed at its file server."""
    try:
        return call.result()
    except Exception as error:
        if not nobody_there(error):
            raise
        _still_there(settings, until)
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


def _still_there(settings: Settings, until: float) -> None:
    """Raises unless the Hub answers anything at all."""

    def ask() -> None:
        from huggingface_hub.utils import get_session

        get_session().head(settings.endpoint, timeout=QUIET)

    _by(until, Call(ask))


def _answer(
    call: Call, name: Name, settings: Settings, until: float, file: str | None = None
) -> Any:
    try:
        return _by(until, call)
    except Exception as error:
        raise in_a_sentence(error, name, settings, file) from error


def _by(until: float, call: Call) -> Any:
    if not call.done.wait(max(0.0, until - time.monotonic())):
        raise Silent
    return call.result()
