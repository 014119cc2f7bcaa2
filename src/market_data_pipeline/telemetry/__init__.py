"""What others see of running pipelines: Prometheus, OpenTelemetry, logs, figures to scale by."""
