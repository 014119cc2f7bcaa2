"""HTTP: health, metrics, control of running pipelines, and the live page."""
