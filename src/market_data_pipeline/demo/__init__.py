"""A synthetic market through a whole pipeline, and a page to look at."""
