"""Checkpoints: what is kept of a run, where, and how a run goes on from it."""

from __future__ import annotations

__all__ = ()
