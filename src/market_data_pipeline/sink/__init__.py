"""Where rows go: one sink, one file."""
