"""A call of huggingface_hub's in a thread that can be left behind, and what can be seen of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gendiff.hub.sentences import Stopped


class Call:
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


def meter(given_up: threading.Event) -> Any:
    """A stand-in for tqdm that counts bytes, and stops the transfer once it is given up.

    count: bytes of the file that are here. came: with those that came in vain.
    """
    from tqdm import tqdm

    class Meter(tqdm):
        count = came = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)  # huggingface_hub's own addition
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if given_up.is_set():
                raise Stopped
            Meter.count += int(n or 0)
            Meter.came += max(0, int(n or 0))

    return Meter
