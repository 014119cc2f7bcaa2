"""Copy neighbouring values of an array to another one as the machine does it fastest."""

from __future__ import annotations

__all__ = ("copy_items",)

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _copy_items(typingctx: Any, out: Any, to: Any, column: Any, begin: Any, count: Any) -> Any:  # noqa: ARG001
    """Copy `count` values from `column[begin]` on to `out[to]` on.

    A loop over two arrays that the compiler cannot tell apart is several times as slow.
    Nothing is checked: all the values must be there.

    Args:
        typingctx: Given by numba, not by the caller.
        out: 1-D array, written; it may not overlap `column`.
        to: Index >= 0.
        column: 1-D array of the same type.
        begin: Index >= 0.
        count: How many, >= 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def address(array: int, at: int) -> Any:
            kind = signature.args[array]
            view = context.make_array(kind)(context, builder, args[array])
            return cgutils.get_item_pointer(
                context, builder, kind, view, [args[at]], wraparound=False
            )

        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        cgutils.raw_memcpy(builder, address(0, 1), address(2, 3), args[4], size)
        return context.get_dummy_value()

    return types.void(out, types.intp, column, types.intp, types.intp), generate


copy_items: Any = intrinsic(_copy_items)
