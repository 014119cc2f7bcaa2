"""The four contrib operators."""
