"""Ask the processor to fetch what will be read soon, and not wait for it."""

from __future__ import annotations

__all__ = ("prefetch",)

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_READ = 0
_IN_ALL_CACHES = 3
_DATA = 1


def _prefetch(typingctx: Any, items: Any, index: Any) -> Any:  # noqa: ARG001
    """Fetch the line of one item of a contiguous array into the cache.

    Args:
        typingctx: Given by numba, not by the caller.
        items: An array of one dimension. It is not looked at beyond its address.
        index: uint64, not below 0 and not checked; a place outside the array does no harm.
    """
    kind = items

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        data = context.make_array(kind)(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), cgutils.voidptr_t)
        word = ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        called = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0i8")
        builder.call(called, [place, *(word(n) for n in (_READ, _IN_ALL_CACHES, _DATA))])
        return context.get_dummy_value()

    return types.void(items, index), generate


prefetch: Any = intrinsic(_prefetch)
