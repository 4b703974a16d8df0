"""What a model on the Hub is called: owner/name[/folder][@revision]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gendiff.errors import GendiffError

# Stricter than the Hub's own rules, so that no id can leave its place in an address or a path.
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(
    rf"({_PART}/{_PART})((?:/{_PART}){{0,4}})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,99}}))?"
)
_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Name:
    """A repository, a folder in it ("" is its root) and a revision (None: the known one)."""

    repo: str
    folder: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read what a person wrote; GendiffError for what is no id."""
        match = _ID.fullmatch(text.strip()) if len(text) <= 400 else None
        # ".." and "--" are refused by the Hub, too: the cache writes "/" as "--"
        if match is None or ".." in text or "--" in text.partition("@")[0]:
            raise GendiffError(
                f"{text.strip()[:60]!r} is no model id; write owner/name, or owner/name@revision."
            )
        return cls(match[1], match[2].strip("/"), match[3])

    @property
    def id(self) -> str:
        """owner/name[/folder], without the revision: also the model's name in the app."""
        return f"{self.repo}/{self.folder}" if self.folder else self.repo

    @property
    def pinned(self) -> bool:
        """Whether the revision is a full commit hash, which never means anything else."""
        return bool(self.revision and _SHA.fullmatch(self.revision))

    def path(self, file: str) -> str:
        """A file of this model, as the repository names it."""
        return f"{self.folder}/{file}" if self.folder else file

    def __str__(self) -> str:
        return f"{self.id}@{self.revision}" if self.revision else self.id


def looks_like_one(text: str) -> bool:
    """Whether text can be meant as an id at all: one that names a folder of ours cannot."""
    try:
        Name.parse(text)
    except GendiffError:
        return False
    return True
