"""One sink, as the loop from the store back to the provider sees it."""

from __future__ import annotations

__all__ = ("SinkWatch",)

from collections import deque
from typing import Final

from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.orchestration.settings import FeedbackSettings
from market_data_pipeline.orchestration.throttling import Reading, level_of

_EVENT_HOLDS_S: Final = 5.0
"""An event is believed this long; a store that died takes nothing back."""
_WINDOW_S: Final = 1.0
_WINDOW_MAX_S: Final = 10.0
"""Over which it is measured what a sink serves: longer where rows wait longer, as they are
then written in bursts."""
_ROWS_MIN: Final = 10
"""Of fewer rows nothing can be told."""


class SinkWatch:
    """Makes of figures, of what a sink tells and of its events what it asks for.

    Attributes:
        level: What it asked for at the last look.
        saturation: Share of its capacity that was taken.
        commit_s: Seconds its last commit took, None if unknown.
        delay_s: For how long its oldest row has waited; 0 for a sink that does not tell.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self.level = PressureLevel.OK
        self.saturation = 0.0
        self.commit_s: float | None = None
        self.delay_s = 0.0
        self._event: tuple[float, Pressure] | None = None
        self._counts: deque[tuple[float, int, int]] = deque()

    def told(self, pressure: Pressure, at_s: float) -> None:
        """Take an event."""
        self._event = (at_s, pressure)

    def look(
        self,
        figures: NodeFigures,
        pressure: Pressure | None,
        at_s: float,
        settings: FeedbackSettings,
    ) -> tuple[PressureLevel, str, Reading]:
        """Return what it asks for, why, and the figures it is told from.

        Args:
            figures: What the engine counts of it.
            pressure: What it tells itself, None if it does not.
            at_s: The time.
            settings: The thresholds.
        """
        if self._event is not None and at_s - self._event[0] > _EVENT_HOLDS_S:
            self._event = None
        event = None if self._event is None else self._event[1]
        # Figures of an event are as old as it is; its word holds until it takes it back.
        now = pressure or event
        delay_s = self._delay(figures, at_s)
        self.delay_s = delay_s if now is not None and now.queue_depth else 0.0
        self.saturation = max(
            figures.fill,
            0.0 if now is None else now.saturation,
            self.delay_s / settings.delay_max_s,
        )
        self.commit_s = None if now is None else now.commit_s
        levels = [p.level for p in (pressure, event) if p is not None and p.level is not None]
        reading = Reading(
            self._node,
            self.saturation,
            self.commit_s,
            max(levels, key=list(PressureLevel).index, default=None),
            *self._rates(at_s),
        )
        self.level, why = level_of(self.level, reading, settings)
        return self.level, why, reading

    def _delay(self, figures: NodeFigures, at_s: float) -> float:
        """Return for how long the row has waited that has waited longest."""
        counts = self._counts
        offered = figures.rows_in + figures.queue_rows
        served = figures.rows_out + sum(figures.reasons.values())
        counts.append((at_s, offered, served))
        while len(counts) > 2 and at_s - counts[1][0] >= _WINDOW_MAX_S:
            counts.popleft()
        # It came between two looks; taking the later one, jitter is no delay.
        return at_s - next((then_s for then_s, came, _ in counts if came > served), at_s)

    def _rates(self, at_s: float) -> tuple[float | None, float | None, float | None]:
        """Return what it wrote as a share of what came lately, and both in rows a second."""
        window_s = min(_WINDOW_MAX_S, max(_WINDOW_S, 2 * self.delay_s))
        counts = self._counts
        since = next((c for c in reversed(counts) if at_s - c[0] >= window_s), counts[0])
        passed_s = at_s - since[0]
        if passed_s < _WINDOW_S / 2:
            return None, None, None
        came, wrote = (b - a for a, b in zip(since[1:], counts[-1][1:], strict=True))
        served = wrote / came if came >= _ROWS_MIN else None
        return served, came / passed_s, wrote / passed_s
