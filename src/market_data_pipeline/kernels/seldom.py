"""Tell the compiler which way a branch goes, so that the other way costs nothing."""

from __future__ import annotations

__all__ = ("seldom",)

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _seldom(typingctx: Any, condition: Any) -> Any:  # noqa: ARG001
    """Return a condition that is hardly ever true.

    In a loop with large exits the compiler would otherwise keep what the exits need in
    registers, and what every turn needs in memory.

    Args:
        typingctx: Given by numba, not by the caller.
        condition: bool.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        bit = ir.IntType(1)
        kind = ir.FunctionType(bit, [bit, bit])
        expect = builder.module.declare_intrinsic("llvm.expect", [bit], kind)
        return builder.call(expect, [args[0], bit(0)])

    return types.boolean(types.boolean), generate


seldom: Any = intrinsic(_seldom)
