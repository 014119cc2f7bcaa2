"""`python -m market_data_pipeline` is `mdp`."""

from __future__ import annotations

__all__ = ()

from market_data_pipeline.cli.main import main

if __name__ == "__main__":
    main()
