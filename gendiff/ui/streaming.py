"""The pace at which a run's frames are sent while they are made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

from gendiff.ui.runs import Frame, Message, Run, batch


def stream(
    run: Run,
    frames: Iterable[Frame],
    *,
    quick: float = 1 / 16,
    slow: float = 1 / 4,
    max_bytes: int = 256 * 1024,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Send frames as they are made: the first at once, the last always; for a second one message
    every `quick` seconds at most, then every `slow`. A message costs the browser far more than a
    frame in it does, and a page that is busy with messages hears no Stop.

    A message holds up to `max_bytes` of text, but always a whole frame; full ones follow each
    other after `quick` seconds, and where frames come still faster, `sleep` keeps that pace.
    Closing this generator (Stop, a visitor who leaves) closes `frames`; where `frames` raises, the
    player is told and the error goes on to the caller.
    """
    size = 1024 + 4 * math.ceil(sum(p.count * p.h * p.w * p.c for p in run.sent) / 3)
    room = max(1, max_bytes // size)
    source, waiting, sent, last, began = iter(frames), [], 0, -math.inf, clock()

    def flush(*ops: Message) -> Message:
        nonlocal sent, last
        first = [run.start()] if last == -math.inf else []
        new = [run.frames(sent, waiting)] if waiting else []
        sent, last = sent + len(waiting), clock()
        waiting.clear()
        return batch(*first, *new, *ops)

    try:
        for frame in source:
            waiting.append(frame)
            now, full = clock(), len(waiting) >= room
            early = last + (quick if full or now < began + 1 else slow) - now
            if early > 0 and not full:
                continue
            if early > 0:
                sleep(early)
            yield flush()
        yield flush(run.end(n=sent + len(waiting)))
    except Exception:
        yield flush(run.end("stopped", "An error stopped this run.", sent + len(waiting)))
        raise
    finally:
        if hasattr(source, "close"):
            source.close()
