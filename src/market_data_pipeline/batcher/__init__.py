"""Thresholds of rows, bytes and time in front of a sink."""
