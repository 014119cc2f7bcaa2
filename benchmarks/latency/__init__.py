"""Rows one at a time through three hops to a sink: how long each takes."""
