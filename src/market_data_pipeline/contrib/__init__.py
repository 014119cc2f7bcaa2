"""Operators by the names of the v0.8 contrib package."""
