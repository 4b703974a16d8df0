"""The models that the application offers: listed at once, loaded on first use, kept."""

from __future__ import annotations

import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gendiff.bench import warm_up
from gendiff.cards import FEATURES
from gendiff.device import pick_device, pick_dtype
from gendiff.errors import GendiffError
from gendiff.hub import Settings
from gendiff.images import untile
from gendiff.studio import zero
from gendiff.studio.fetched import Fetched
from gendiff.weights import BUNDLED, CONFIG, Card, Model, load, load_note

ASSETS = BUNDLED.parent / "assets"
WEIGHTS_MOST = 300_000_000  # in memory, of models from the Hub: 1.2 GB in float32


@dataclass(frozen=True)
class Real:
    """Bundled pictures that no network saw in training: (N, H, W, C) uint8; classes (N,)."""

    pictures: np.ndarray
    labels: np.ndarray


class Studio:
    """All models of a folder of checkpoints, on one device.

    Args:
        folder: holds one checkpoint a subfolder.
        device: "cpu", "cuda" or None for the best.
        dtype: "float32", "bfloat16" or None for what suits the device.
        fetched: the models that come from the Hub, None for none.
    """

    def __init__(
        self,
        folder: Path = BUNDLED,
        device: str | None = None,
        dtype: str | None = None,
        fetched: Fetched | None = None,
    ) -> None:
        self.folder, self.device = folder, pick_device(device)
        self.dtype = pick_dtype(self.device.type, dtype)
        self._models: dict[tuple[str, str], Model] = {}
        self._warm: set[tuple[str, str]] = set()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._guard = threading.Lock()
        self.fetched = fetched

    @classmethod
    def with_hub(cls, device: str | None = None, dtype: str | None = None) -> Studio:
        """The bundled models and those of the Hub, as the environment allows."""
        borrowed = zero.attached() is not None  # asked before anything looks for a device
        # A visitor must not see what only this machine's token may see.
        fetched = Fetched(Settings.here(token=False))
        studio = cls(device=device, dtype=dtype, fetched=fetched)
        if borrowed and studio.device.type == "cuda":
            studio.place()
        return studio

    @cached_property
    def near(self) -> Studio:
        """For work that is done sooner than a GPU is borrowed (see `zero`): on ZeroGPU the same
        models on the processor, anywhere else this very studio."""
        if zero.attached() is None:
            return self
        return Studio(self.folder, "cpu", fetched=self.fetched)

    @cached_property
    def _found(self) -> tuple[dict[str, Card], dict[str, str]]:
        cards, damaged = [], {}
        for path in sorted(self.folder.glob(f"*/{CONFIG}")):
            try:
                cards.append(Card.read(path.parent))
            except GendiffError as error:  # the other models are there all the same
                damaged[path.parent.name] = str(error)
        cards = [card for card in cards if card.family != FEATURES]
        return {card.name: card for card in sorted(cards, key=lambda card: card.cost)}, damaged

    @property
    def _cards(self) -> dict[str, Card]:
        more = self.fetched.cards() if self.fetched else []
        return {**self._found[0], **{card.name: card for card in more}}

    def damaged(self) -> dict[str, str]:
        """Checkpoints that cannot be offered: folder name -> what is wrong and what to do."""
        return self._found[1]

    def cards(self, family: str | None = None) -> list[Card]:
        """The checkpoints, cheapest first, then what came from the Hub; of one family ("gan",
        "diffusion") or all."""
        return [card for card in self._cards.values() if family in (None, card.family)]

    def card(self, name: str) -> Card:
        """The card of that name; GendiffError if there is none."""
        name = str(name)  # of a request: any JSON
        if name not in self._cards and self.fetched:
            self.fetched.look_again()  # another process may have fetched it
        if name not in self._cards:
            known = ", ".join(self._cards) or "none"
            raise GendiffError(f"There is no model {name[:60]!r}; choose one of: {known}.")
        return self._cards[name]

    def partner(self, name: str, family: str) -> Card | None:
        """The checkpoint of another family that was trained on the same data, if there is one."""
        data = self.card(name).data
        return next((card for card in self.cards(family) if card.data == data), None)

    def model(self, name: str, dtype: str | None = None) -> Model:
        """The model of that name, loaded once, whoever asks first; others wait for it.

        dtype: "float32", "bfloat16" or None for the studio's own.
        """
        self.card(name)
        key = (name, dtype or str(self.dtype).removeprefix("torch."))
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            model = self._models.get(key) or self._load(*key)
            if key not in self._warm:
                warm_up(model, 1)
            with self._guard:
                self._warm.add(key)
                self._models.pop(key, None)
                self._models[key] = model  # the last one is the one used last
                self._let_go(name)
            return model

    def _load(self, name: str, dtype: str) -> Model:
        note = self.fetched.note(name) if self.fetched else None
        if note is None:
            return load(self.folder / name, self.device.type, dtype)
        return load_note(note, self.device.type, dtype)

    def place(self) -> None:
        """Put the bundled models on the device without a call, as ZeroGPU wants it: before the
        page is served, in the main thread, where CUDA is acted and nothing can be computed."""
        dtype = str(self.dtype).removeprefix("torch.")
        for name in self._found[0]:
            with suppress(GendiffError):  # told to the person who picks that model
                self._models[name, dtype] = self._load(name, dtype)

    def _let_go(self, used: str) -> None:
        """Forget the models of the Hub that have not been used for longest, if there are many."""
        theirs = [key for key in self._models if self.fetched and self.fetched.note(key[0])]
        sizes = {key: sum(self.card(key[0]).parameters.values()) for key in theirs}
        for key in theirs:
            if sum(sizes.values()) <= WEIGHTS_MOST:
                return
            if key[0] != used:
                del self._models[key], sizes[key]
                self._warm.discard(key)

    def loaded(self) -> list[Card]:
        """The cards of the models that have been asked for so far, by name."""
        return [self.card(name) for name in sorted({name for name, _ in self._models})]

    def preload(self) -> threading.Thread:
        """Load all models in the background, cheapest first: the first visitor need not wait."""

        def work() -> None:
            for card in self._found[0].values():
                with suppress(GendiffError):  # told to the person who picks that model
                    self.near.model(card.name)

        thread = threading.Thread(target=work, name="preload", daemon=True)
        thread.start()
        return thread

    def share_cores(self, runs: int = 2) -> None:
        """Let `runs` visitors' runs work at once, each on its share of the processor's cores.

        On two cores, two runs on one thread each finish 0.64 runs/s, one after the other on two
        threads 0.49 (small networks do not fill two cores).
        """
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // runs))

    def real(self, data: str) -> Real:
        """256 bundled real pictures of a data set, as many of each class as possible."""
        if not re.fullmatch(r"\w{1,60}", str(data), re.ASCII):
            raise GendiffError(f"There are no bundled real pictures of {str(data)[:60]!r}.")
        return _real(str(data))

    def conditions(self, dtype: str | None = None) -> str:
        """Where and how networks run here, as stands beside every timing."""
        dtype = dtype or str(self.dtype).removeprefix("torch.")
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name()}, {dtype}"
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' * (threads > 1)}, {dtype}"


@lru_cache(maxsize=8)
def _real(data: str) -> Real:
    try:
        about = json.loads((ASSETS / f"real-{data}.json").read_text(encoding="utf-8"))
        with Image.open(ASSETS / f"real-{data}.png") as image:
            sheet = np.asarray(image)
    except FileNotFoundError as error:
        raise GendiffError(f"There are no bundled real pictures of {data!r}.") from error
    sheet = sheet[..., None] if sheet.ndim == 2 else sheet
    return Real(untile(sheet, about["size"]), np.asarray(about["labels"]))
