"""Copy and move neighbouring values of arrays as the machine does it fastest."""

from __future__ import annotations

__all__ = ("copy_items", "move_rows")

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


def _move_rows(typingctx: Any, table: Any, to: Any, begin: Any, count: Any) -> Any:  # noqa: ARG001
    """Move `count` rows of a table from row `begin` on to row `to` on; the places may overlap.

    Nothing is checked: all the rows must be there.

    Args:
        typingctx: Given by numba, not by the caller.
        table: (R, W) array, contiguous, written.
        to: Row >= 0.
        begin: Row >= 0.
        count: How many, >= 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, args[0])
        zero = context.get_constant(types.intp, 0)

        def address(at: int) -> Any:
            return cgutils.get_item_pointer(
                context, builder, kind, view, [args[at], zero], wraparound=False
            )

        width = cgutils.unpack_tuple(builder, view.shape, 2)[1]
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        cells = builder.mul(args[3], width)
        cgutils.raw_memmove(builder, address(1), address(2), cells, size)
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp, types.intp), generate


move_rows: Any = intrinsic(_move_rows)
