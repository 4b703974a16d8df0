"""What this program may do with the Hub. The one place that reads the environment for it.

GENDIFF_HUB         open (default): any model; list: only those of our list; closed: none
GENDIFF_HUB_MAX_GB  the largest model that is downloaded, in 10^9 bytes (default 1)

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN mean what they mean everywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from gendiff.errors import GendiffError

Access = Literal["open", "list", "closed"]


@dataclass(frozen=True)
class Settings:
    """Where the Hub is, where its files are kept, and what may be fetched.

    Attributes:
        endpoint: the Hub's address. cache: huggingface_hub's folder, shared with other programs.
        notes: our own folder: what has been fetched and checked.
        most: bytes of the largest model. access: see the module.
        token: None uses the machine's own, False none: a visitor must not see private models.
    """

    endpoint: str
    cache: Path
    notes: Path
    most: int = 10**9
    access: Access = "open"
    token: bool | None = None

    @classmethod
    def here(cls, token: bool | None = None) -> Settings:
        """Those of the environment."""
        from huggingface_hub import constants

        access, most = os.environ.get("GENDIFF_HUB", "open"), os.environ.get("GENDIFF_HUB_MAX_GB")
        if access not in get_args(Access):
            raise GendiffError(f"GENDIFF_HUB is open, list or closed; got {access[:40]!r}.")
        try:
            size = 10**9 if most is None else int(float(most) * 1e9)
        except (ValueError, OverflowError):
            size = 0
        if size <= 0:
            raise GendiffError(f"GENDIFF_HUB_MAX_GB is a number above 0; got {str(most)[:40]!r}.")
        return cls(
            endpoint=constants.ENDPOINT.rstrip("/"),
            cache=Path(constants.HF_HUB_CACHE),
            notes=Path(constants.HF_ASSETS_CACHE) / "gendiff" / "models",
            most=size,
            access=access,  # type: ignore[arg-type]
            token=token,
        )

    def folder(self, repo: str) -> Path:
        """Where huggingface_hub keeps a repository: blobs/HASH, and snapshots/COMMIT/PATH."""
        return self.cache / f"models--{repo.replace('/', '--')}"
