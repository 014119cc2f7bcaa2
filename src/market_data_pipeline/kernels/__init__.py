"""The hot loops: numba functions over arrays, one kernel, one file; no classes, no I/O."""
