"""Components by name, and graphs as YAML."""
