"""What a check says when a component fails in it: at what, and how."""

from __future__ import annotations

__all__ = ("telling",)

from collections.abc import Iterator
from contextlib import contextmanager

from market_data_pipeline.errors import PipelineError


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say of any failure inside at what it came.

    Args:
        what: What is tried, to follow the word `with`.

    Raises:
        AssertionError: For whatever is raised inside, which is its cause.
    """
    try:
        yield
    except (AssertionError, PipelineError) as err:
        msg = f"with {what}: {err}"
        raise AssertionError(msg) from err
    except Exception as err:
        msg = f"with {what}: {type(err).__name__}: {err}"
        raise AssertionError(msg) from err
