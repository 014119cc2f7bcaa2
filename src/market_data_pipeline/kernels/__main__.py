"""`python -m market_data_pipeline.kernels` compiles all kernels that are not on the disk yet."""

from __future__ import annotations

__all__ = ()

import importlib
import pkgutil
from pathlib import Path


def main() -> None:
    """Import every module of this folder: kernels are compiled as they are imported."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "__main__":
            importlib.import_module(f"market_data_pipeline.kernels.{module.name}")


if __name__ == "__main__":
    main()
