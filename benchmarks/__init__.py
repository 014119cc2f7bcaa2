"""Measures the engine and its peers side by side: `python -m benchmarks`."""
