"""The hot loops: numba functions over arrays, one kernel, one file; no classes, no I/O.

A kernel that calls others with arrays is compiled with `_nrt=False`. It allocates nothing,
and numba would otherwise count references to every array in every such call, with two
locked instructions each.
"""
