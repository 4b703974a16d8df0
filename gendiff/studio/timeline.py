"""What a race looked like when: every lane's pictures against its own seconds.

The lanes ran one after another; here they start together, which is how they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gendiff.studio.race import Lap, Race


def blank(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Pictures that nobody has begun: mid-grey (count, H, W, C) uint8."""
    channels, height, width = shape
    return np.full((count, height, width, channels), 128, np.uint8)


@dataclass
class Timeline:
    """What a race looked like when: each lane's snapshots against its own seconds.

    At most `most` snapshots a lane besides its first (nothing yet) and the ends of its batches.
    """

    race: Race
    most: int = 40
    snapshots: list[list[tuple[float, int, int, np.ndarray]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        empty = blank(self.race.shape, len(self.race.seeds))
        self.snapshots = [[(0.0, 0, 0, empty)] for _ in self.race.contestants]
        batches = -(-len(self.race.seeds) // self.race.batch)
        self._every = [one.nfe * batches / self.most for one in self.race.contestants]
        self._laps = [0] * len(self.race)

    def add(self, lap: Lap) -> bool:
        """Keep a lap if one is due; whether it was kept."""
        self._laps[lap.lane] += 1
        own, count = self.snapshots[lap.lane], self._laps[lap.lane]
        if not lap.complete and count < self._every[lap.lane] * len(own):
            return False
        pictures = own[-1][3].copy()
        pictures[lap.first : lap.first + len(lap.x)] = lap.pictures()
        own.append((lap.seconds, lap.done, lap.nfe, pictures))
        return True

    def at(self, lane: int, seconds: float) -> tuple[float, int, int, np.ndarray]:
        """(since when, pictures done, NFE, pictures) of a lane at a time of the race."""
        return max(
            (one for one in self.snapshots[lane] if one[0] <= seconds), key=lambda one: one[0]
        )

    @property
    def seconds(self) -> float:
        """When the last lane ended."""
        return max(own[-1][0] for own in self.snapshots)

    def final(self) -> list[np.ndarray | None]:
        """Each lane's complete pictures; None for one that did not arrive."""
        ends = [own[-1] for own in self.snapshots]
        return [end[3] if end[1] == len(self.race.seeds) else None for end in ends]
