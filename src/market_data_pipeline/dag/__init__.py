"""The engine: a graph of sources, operators and sinks, and what runs it."""
