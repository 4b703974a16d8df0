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

from gendiff.hub.names import Name
from gendiff.hub.sentences import Silent, Stopped, in_a_sentence
from gendiff.hub.settings import Settings

ANSWER = 8.0  # seconds for the Hub's first answer, name resolution included
QUIET = 4.0  # seconds without a byte before we ask whether the network is still there
_TICK = 0.2


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


def listing(name: Name, settings: Settings) -> Listing:
    """What the repository holds at that revision (None: main).

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

    return _answer(_Call(_twice(ask)), name, settings, ANSWER)


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
        GendiffError: as `listing`, and for a transfer that breaks off or finds no room.
    """
    if cancelled():
        raise in_a_sentence(Stopped(), name, settings)
    given_up = threading.Event()
    meter = _meter(given_up)

    def fetch() -> Path:
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(
                name.repo,
                file.path,
                revision=sha,
                cache_dir=settings.cache,
                endpoint=settings.endpoint,
                token=settings.token,
                etag_timeout=QUIET,
                tqdm_class=meter,
            )
        )

    fetch = _twice(fetch)
    call, seen, heard = _Call(fetch), 0, time.monotonic()
    try:
        while not call.done.wait(_TICK):
            if cancelled():
                raise Stopped
            yield min(seen, file.size)  # also without news: whoever waits here may want to stop
            if meter.count != seen:
                seen, heard = meter.count, time.monotonic()
            elif time.monotonic() - heard > QUIET:
                # a slow line delivers its next 10 MB late; a dead one does not answer this either
                _still_there(name, settings)
                heard = time.monotonic()
        yield call.result()
    except Exception as error:
        raise in_a_sentence(error, name, settings, file.path) from error
    finally:
        given_up.set()


def _get(path: str, settings: Settings) -> Any:
    """What the Hub's API says about models/`path`: all pages of it, as one.

    Not by HfApi: its `list_repo_tree` tries again for 23 s where nobody is.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    found, url = [], f"{settings.endpoint}/api/models/{path}"
    options: dict[str, Any] = {"params": {"recursive": "true", "expand": "false"}}
    while url:
        headers = build_hf_headers(token=settings.token)
        response = get_session().get(url, headers=headers, timeout=QUIET, **options)
        hf_raise_for_status(response)
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


def _twice(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work, begun again once if the connection was dropped.

    huggingface_hub keeps connections open, and a server may close one just as it is used again.
    """

    def tried() -> Any:
        try:
            return work()
        except Exception as error:
            if {"ReadError", "RemoteProtocolError"}.isdisjoint(
                kind.__name__ for kind in type(error).__mro__
            ):
                raise
        return work()

    return tried


def _still_there(name: Name, settings: Settings) -> None:
    """Raises unless the Hub answers anything at all."""

    def ask() -> None:
        from huggingface_hub.utils import get_session

        get_session().head(settings.endpoint, timeout=QUIET)

    call = _Call(ask)
    if not call.done.wait(QUIET + 1):
        raise Silent
    call.result()


def _answer(call: _Call, name: Name, settings: Settings, seconds: float) -> Any:
    try:
        if not call.done.wait(seconds):
            raise Silent
        return call.result()
    except Exception as error:
        raise in_a_sentence(error, name, settings) from error


class _Call:
    """A function at work in a thread that nobody has to wait for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.done, self._value, self._error = threading.Event(), None, None
        threading.Thread(target=self._run, args=(work,), name="hub", daemon=True).start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # it is raised where the result is asked for
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


def _meter(given_up: threading.Event) -> Any:
    """A stand-in for tqdm that counts bytes, and stops the transfer once it is given up."""
    from tqdm import tqdm

    class Meter(tqdm):
        count = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)  # huggingface_hub's own addition
            self.bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if given_up.is_set():
                raise Stopped
            if self.bytes:
                Meter.count += int(n or 0)

    return Meter
