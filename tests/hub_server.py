"""A stand-in for the Hugging Face Hub on 127.0.0.1, for the tests: the routes and headers that
huggingface_hub needs, and faults to switch on. Nothing else ever hears of it.

    hub = HubServer(); hub.add("owner/name", {"config.json": b"{}"}); hub.url; hub.close()
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 1000  # bytes from which a file is "LFS": its sha256 is told


@dataclass
class Repo:
    """files: path -> contents, at one commit. refs: branches and tags of that commit."""

    files: dict[str, bytes]
    sha: str
    refs: set[str] = field(default_factory=lambda: {"main"})


class HubServer:
    """The server, and what it can be told to do wrong.

    Attributes:
        log: "METHOD path" of every request. pushed: repo id -> path -> contents. created: what
            was asked for, by repo id.
        status: answer every request with it. gated: ask for terms. disabled: "by its authors".
        slow: seconds that a large body takes. silent: take the request and say nothing.
        dumb: leave out the Hub's headers. cut: break every body off at half.
        corrupt: flip a bit in every large body.
        stalled: break every large body off at half, and say nothing more.
        mute: requests for paths that end so are taken, and nothing is said.
        files_at: the address of another server that large files are sent to, as the Hub does.
        hidden: paths that are listed, but not there.
        xet: offer large files by Xet, too, the Hub's other transfer.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.pushed: dict[str, dict[str, bytes]] = {}
        self.created: dict[str, dict[str, object]] = {}
        self.log: list[str] = []
        self.status, self.slow, self.hidden = 0, 0.0, set()
        self.gated = self.disabled = self.silent = self.dumb = self.cut = self.corrupt = False
        self.stalled, self.mute, self.files_at, self.xet = False, "", "", False
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """A repository; its commit hash comes back."""
        digest = hashlib.sha1(name.encode())
        for path, data in sorted(files.items()):
            digest.update(path.encode() + data)
        self.repos[name] = Repo(dict(files), digest.hexdigest())
        return digest.hexdigest()

    def close(self) -> None:
        """Stop: from now on connections are refused."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def hashes(data: bytes) -> tuple[str, str | None]:
    """git's hash of a file, and its sha256 if it is large."""
    git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    return git, hashlib.sha256(data).hexdigest() if len(data) >= LARGE else None


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        sent = self._body()
        self.hub.log.append(f"POST {self.path}")
        if self.hub.status:
            return self._send(self.hub.status)
        if self.path == "/api/repos/create":
            wish = json.loads(sent)
            self.hub.created[_full(wish)] = wish
            return self._json({"url": f"{self.hub.url}/{_full(wish)}"})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        _, name, verb = re.match(r"/api/(\w+)/([^/]+/[^/]+)/(\w+)/", self.path).groups()
        if verb == "preupload":
            files = json.loads(sent)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular"} for f in files]
            return self._json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        for line in map(json.loads, sent.splitlines()):
            if line["key"] == "file":
                data = base64.b64decode(line["value"]["content"])
                self.hub.pushed.setdefault(name, {})[line["value"]["path"]] = data
        url = f"{self.hub.url}/{name}/commit/{'0' * 40}"
        return self._json({"commitUrl": url, "commitOid": "0" * 40, "success": True})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, body: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.log.append(f"{self.command} {path}")
        if hub.silent or (hub.mute and path.endswith(hub.mute)):
            hub.released.wait(60)
            return
        if hub.status:
            return self._send(hub.status)
        match = re.match(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(\w+)/?(.*))?", path)
        repo = hub.repos.get(match[1]) if match else None
        if repo is None:
            return self._send(404, {"X-Error-Code": "RepoNotFound"})
        if hub.gated:
            return self._send(401, {"X-Error-Code": "GatedRepo"})
        if hub.disabled:
            text = "Access to this resource is disabled."
            return self._send(403, {"X-Error-Message": text})
        revision = match[3].split("/")[0] if match[2] else "main"
        if revision not in {repo.sha, *repo.refs}:
            return self._send(404, {"X-Error-Code": "RevisionNotFound"})
        if match[2] == "resolve":
            return self._file(repo, match[3].partition("/")[2], body)
        return self._json(_tree(repo) if match[2] == "tree" else _info(match[1], repo))

    def _file(self, repo: Repo, path: str, body: bool) -> None:
        headers = {"X-Repo-Commit": repo.sha}
        if path not in repo.files or path in self.hub.hidden:
            return self._send(404, {**headers, "X-Error-Code": "EntryNotFound"})
        data = repo.files[path]
        git, sha256 = hashes(data)
        headers = {} if self.hub.dumb else {**headers, "ETag": f'"{sha256 or git}"'}
        size = len(data)
        if self.hub.xet and sha256:
            token = f"{self.hub.url}/api/models/xet-read-token"
            headers |= {"X-Xet-Hash": sha256, "X-Xet-Refresh-Route": token}
        if self.hub.files_at and sha256:
            where = {"Location": self.hub.files_at + self.path, "X-Linked-Size": size}
            return self._send(302, {**headers, **where, "X-Linked-ETag": f'"{sha256}"'})
        if self.hub.corrupt and sha256:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if self.hub.cut and body:
            data = data[: size // 2]
        self._send(200, {**headers, "Content-Length": str(size)}, data if body else b"")

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": len(data)}, data)

    def _send(
        self, status: int, headers: Mapping[str, object] | None = None, data: bytes = b""
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": 0, **(headers or {})}.items():
            self.send_header(key, str(value))
        self.end_headers()
        stalls = self.hub.stalled and len(data) >= LARGE
        data = data[: len(data) // 2] if stalls else data
        parts = 50 if self.hub.slow and len(data) >= LARGE else 1
        step = -(-len(data) // parts)
        with suppress(ConnectionError):  # whoever asked has given up
            for start in range(0, len(data), step or 1):
                self.wfile.write(data[start : start + step])
                self.hub.released.wait(self.hub.slow / parts)
            if stalls:
                self.hub.released.wait(60)


def _tree(repo: Repo) -> list[dict[str, object]]:
    rows = []
    for path, data in repo.files.items():
        git, sha256 = hashes(data)
        row = {"type": "file", "path": path, "size": len(data), "oid": git}
        lfs = {"lfs": {"oid": sha256, "size": len(data), "pointerSize": 130}} if sha256 else {}
        rows.append({**row, **lfs})
    return rows


def _info(name: str, repo: Repo) -> dict[str, object]:
    return {"id": name, "sha": repo.sha, "siblings": [{"rfilename": path} for path in repo.files]}


def _full(wish: Mapping[str, str]) -> str:
    return f"{wish.get('organization') or 'me'}/{wish['name']}"
