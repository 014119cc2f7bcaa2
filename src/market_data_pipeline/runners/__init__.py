"""Where version 0.8 runs pipelines."""
