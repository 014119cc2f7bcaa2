"""What happens to rows on the way: one operator, one file."""
