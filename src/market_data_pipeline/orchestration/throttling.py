"""How much of its budget a provider may use: decided from what its stores tell, without I/O.

Additive increase, multiplicative decrease. A store that asks for less lowers the scale at
once, to what it was seen to serve where that is known, else by a factor; then the effect is
waited for. While a store is at ease the scale climbs back to where it last was too much, and
from there in steps that are small at first and grow the longer nothing happens: near the
store's capacity the scale keeps still, and it is back within seconds when the store is. A
store that is nearly full pauses the provider until it has drained.
"""

from __future__ import annotations

__all__ = ("Reading", "Throttle", "level_of", "next_throttle", "worst")

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from market_data_pipeline.dag.pressure import PressureLevel
from market_data_pipeline.orchestration.settings import FeedbackSettings

_OK, _SOFT, _HARD = PressureLevel.OK, PressureLevel.SOFT, PressureLevel.HARD
_RANK: Final = {_OK: 0, _SOFT: 1, _HARD: 2}
_HEADROOM: Final = 0.9
"""Less than what a store serves, so that what has queued up drains."""
_LEAST_FACTOR: Final = 0.1
"""A store that serves less stands still. No decrease is deeper: one look may be wrong."""
_CALM: Final = 0.7
"""A commit is quick again below this share of `commit_soft_s`."""
_RISING: Final = 0.01
"""A queue that grew by this share of its capacity since the last look is growing."""
_EMPTY: Final = 0.5
"""Below this share of `soft_below` a queue is as good as empty; batches come and go in it."""
_STEADY_S: Final = 1.0
"""After so long at the whole budget it is known how much comes."""
_EASE_S: Final = 1.0
"""Seconds in which the scale climbs back to where it last was too much."""
_DOUBLINGS_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Reading:
    """What one store told at one time.

    Attributes:
        sink: Whose it is.
        saturation: Share of its capacity that is taken.
        commit_s: Seconds the last commit took, None if unknown.
        told: Its own word for it, None if it gives figures only.
        served: What it wrote as a share of what came lately; None if unknown.
        came_s: Rows a second that came lately; None if unknown.
        wrote_s: Rows a second that it wrote lately; None if unknown.
    """

    sink: str
    saturation: float
    commit_s: float | None = None
    told: PressureLevel | None = None
    served: float | None = None
    came_s: float | None = None
    wrote_s: float | None = None


@dataclass(frozen=True, slots=True)
class Throttle:
    """What holds for a provider, and why.

    Attributes:
        scale: Share of the budget, 0 (pause) to 1.
        level: What its stores ask for.
        reason: Why it is so, in words.
        ceiling: The scale at which a store last had too much, times what it served of it.
        changed_s: When it was last decreased.
        calm_s: Since when the stores have been at ease and not filling.
        full_s: Rows a second that come at a scale of 1; None if unknown.
        at_s: When it was decided.
        saturation: Of the store it was decided by.
    """

    scale: float = 1.0
    level: PressureLevel = _OK
    reason: str = "no store has asked for less"
    ceiling: float = 1.0
    changed_s: float = float("-inf")
    calm_s: float = float("-inf")
    full_s: float | None = None
    at_s: float | None = None
    saturation: float = 0.0


def level_of(
    before: PressureLevel, reading: Reading, settings: FeedbackSettings
) -> tuple[PressureLevel, str]:
    """Return what a store asks for, and why.

    A level is entered at its threshold and left below a lower one. A store's own word can
    make it worse than the figures say, never better.

    Args:
        before: What it asked for last.
        reading: What it tells.
        settings: The thresholds.
    """
    share, commit_s = reading.saturation, reading.commit_s
    full = f"its queue is {share:.0%} full"
    found, why = _OK, full
    if share >= (settings.soft_below if before is not _OK else settings.soft_at):
        found = _SOFT
    if share >= (settings.hard_below if before is _HARD else settings.hard_at):
        found = _HARD
    slow_s = settings.commit_soft_s
    if found is _OK and slow_s is not None and commit_s is not None:
        bound_s = slow_s * (_CALM if before is not _OK else 1.0)
        if commit_s >= bound_s:
            found, why = _SOFT, f"a commit took {commit_s:.2f} s"
    told = reading.told
    if told is not None and _RANK[told] > _RANK[found]:
        found, why = told, f"it says `{told}` ({full})"
    return found, why


def worst(
    readings: Iterable[tuple[PressureLevel, str, Reading]],
) -> tuple[PressureLevel, str, Reading]:
    """Return the reading that asks for most.

    Args:
        readings: At least one, each with its level and why.
    """
    return max(readings, key=lambda found: (_RANK[found[0]], found[2].saturation))


def next_throttle(
    now: Throttle,
    level: PressureLevel,
    why: str,
    reading: Reading,
    at_s: float,
    settings: FeedbackSettings,
) -> Throttle:
    """Return what is to hold from now on.

    Args:
        now: What held until now.
        level: What the worst store asks for.
        why: Its reason.
        reading: What that store tells.
        at_s: The time, seconds that never run backwards.
        settings: The thresholds and steps.
    """
    passed_s = 0.0 if now.at_s is None else max(0.0, at_s - now.at_s)
    empty = _EMPTY * settings.soft_below
    is_rising = reading.saturation > max(empty, now.saturation + _RISING)
    is_calm = level is _OK and not is_rising
    calm_s = now.calm_s if is_calm else at_s
    full_s = now.full_s
    if is_calm and now.scale == 1.0 and at_s - now.calm_s >= _STEADY_S and reading.came_s:
        full_s = reading.came_s
    kept = replace(
        now, level=level, at_s=at_s, calm_s=calm_s, full_s=full_s, saturation=reading.saturation
    )
    said = f"`{reading.sink}`: {why}"
    if level is _HARD:
        if now.level is _HARD:
            return replace(kept, reason=f"paused, {said}")
        ceiling = _ceiling(now, reading, settings)
        return replace(kept, scale=0.0, ceiling=ceiling, changed_s=at_s, reason=f"paused, {said}")
    if now.scale == 0.0:
        ceiling, factor = now.ceiling, settings.decrease
        if now.full_s and reading.wrote_s:
            # It had enough to write all the while, so this is what it can do.
            factor = _HEADROOM
            ceiling = max(settings.scale_min, min(1.0, reading.wrote_s / now.full_s))
        scale = max(settings.scale_min, ceiling * factor)
        return replace(
            kept, scale=scale, ceiling=ceiling, changed_s=at_s, reason=f"resumed, {said}"
        )
    if level is _SOFT:
        if at_s - now.changed_s < settings.settle_s:
            return replace(kept, reason=f"waits for the effect, {said}")
        if reading.saturation < now.saturation:
            return replace(kept, reason=f"holds while it drains, {said}")
        ceiling = _ceiling(now, reading, settings)
        if reading.served is None:
            scale = now.scale * settings.decrease
        elif reading.served < _LEAST_FACTOR:
            scale = now.scale * _LEAST_FACTOR
        else:
            scale = ceiling * _HEADROOM
        scale = max(settings.scale_min, scale)
        return replace(
            kept, scale=scale, ceiling=ceiling, changed_s=at_s, reason=f"decreased, {said}"
        )
    if now.scale >= 1.0:
        return replace(kept, reason=f"full budget, {said}")
    if is_rising:
        return replace(kept, reason=f"holds while it fills, {said}")
    scale = min(1.0, now.scale + _step(now, at_s, passed_s, settings))
    return replace(kept, scale=scale, reason=f"increased, {said}")


def _ceiling(now: Throttle, reading: Reading, settings: FeedbackSettings) -> float:
    """Return the scale that the store is thought to be able to serve."""
    if reading.served is None:
        found = now.scale
    elif reading.served < _LEAST_FACTOR:
        # A store that stands still says nothing of what it can do when it goes on.
        return now.ceiling
    else:
        found = now.scale * min(1.0, reading.served)
    return max(settings.scale_min, found) if now.scale else now.ceiling


def _step(now: Throttle, at_s: float, passed_s: float, settings: FeedbackSettings) -> float:
    below = now.ceiling * _HEADROOM - now.scale
    if below > 0:
        return min(below, now.ceiling * passed_s / _EASE_S)
    calm = min(_DOUBLINGS_MAX, max(0.0, at_s - now.calm_s) / settings.settle_s)
    faster: float = 2.0**calm
    return settings.increase * now.ceiling * faster * passed_s
