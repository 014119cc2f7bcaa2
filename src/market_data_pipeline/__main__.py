"""`python -m market_data_pipeline` is `mdp`."""

from market_data_pipeline.cli.main import main

if __name__ == "__main__":
    main()
