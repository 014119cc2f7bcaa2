"""Where rows come from: one source, one file."""
