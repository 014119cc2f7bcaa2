"""One module for each peer; each describes its tasks in `TASKS`."""
