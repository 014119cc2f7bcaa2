"""The symbol table: instrument names to small integers, once per run."""

from __future__ import annotations

__all__ = ("KEY_GROUP_COUNT", "SymbolTable", "key_group_of")

import threading
from collections.abc import Iterable
from typing import Final

import mmh3
import numpy as np
import numpy.typing as npt
import pyarrow as pa

KEY_GROUP_COUNT: Final = 128
"""Number of key groups. Part of the format of saved state: it never changes."""


def key_group_of(key: str) -> int:
    """Return the key group of a key, `0 <= group < KEY_GROUP_COUNT`.

    The same in every process and on every machine: MurmurHash3 (x86, 32 bit, seed 0) of
    the UTF-8 text, reduced by the remainder.
    """
    return int(mmh3.hash(key.encode(), 0, signed=False)) % KEY_GROUP_COUNT


class SymbolTable:
    """Append-only table of symbols; a batch holds their codes.

    Codes are dense, start at 0 and are never reused. They have no meaning outside the
    run, so nothing that is stored or hashed may depend on them: use the name. Sources
    may add symbols from several threads at once.
    """

    __slots__ = ("_adding", "_codes", "_groups", "_names")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._groups = np.empty(64, np.int16)
        self._adding = threading.Lock()
        for name in names:
            self.code(name)

    def __len__(self) -> int:
        return len(self._names)

    def code(self, name: str) -> int:
        """Return the code of a symbol, adding it if it is seen for the first time."""
        code = self._codes.get(name)
        return self._add(name) if code is None else code

    def _add(self, name: str) -> int:
        with self._adding:
            code = self._codes.get(name)
            if code is None:
                code = len(self._names)
                if code == len(self._groups):
                    self._groups = np.concatenate([self._groups, np.empty_like(self._groups)])
                self._groups[code] = key_group_of(name)
                self._names.append(name)
                # Last, so that whoever finds the code finds the rest too.
                self._codes[name] = code
            return code

    def name(self, code: int) -> str:
        """Return the symbol of a code.

        Raises:
            IndexError: If no symbol has this code.
        """
        return self._names[code]

    def texts(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.str_]:
        """Return the symbols of codes, (n,) text: what is stored in their place."""
        if len(codes) < len(self._names):
            return np.array([self._names[code] for code in codes.tolist()], np.str_)
        return np.array(self._names, np.str_)[codes]

    @property
    def names(self) -> list[str]:
        """All symbols in the order of their codes; do not change it."""
        return self._names

    def arrow_names(self) -> pa.Array:
        """Return all symbols in the order of their codes, as an Arrow array of strings."""
        # `pa.array` of a list imports pandas where it is installed, a quarter of a second.
        texts = [name.encode() for name in self._names]
        ends = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(text) for text in texts], out=ends[1:])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
        return pa.Array.from_buffers(pa.string(), len(texts), buffers)

    def key_groups(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
        """Return the key group of each code, (n,) int16."""
        return self._groups[codes]

    def encode(self, names: Iterable[str]) -> npt.NDArray[np.int32]:
        """Return the codes of names, (n,) int32, adding those seen for the first time."""
        return np.fromiter((self.code(name) for name in names), np.int32)

    def encode_texts(self, texts: npt.NDArray[np.str_]) -> npt.NDArray[np.int32]:
        """Return the codes of names that `texts` has given, (n,) int32, as `encode` does.

        Each name is looked up once, however many rows have it.
        """
        width = texts.dtype.itemsize
        if not len(texts) or not width:
            return self.encode(texts.tolist())
        texts = np.ascontiguousarray(texts)
        cells = pa.Array.from_buffers(pa.binary(width), len(texts), [None, pa.py_buffer(texts)])
        found = cells.dictionary_encode()
        names = np.frombuffer(b"".join(found.dictionary.to_pylist()), texts.dtype)
        codes: npt.NDArray[np.int32] = self.encode(names.tolist())[found.indices.to_numpy()]
        return codes

    def encode_table(self, theirs: SymbolTable) -> npt.NDArray[np.int32]:
        """Return the code here of each code of another table, adding what is missing."""
        # What is there now: others may be adding to it.
        names = theirs.names[: len(theirs)]
        with self._adding:
            if names and not self._names:
                codes = np.arange(len(names), dtype=np.int32)
                # The hash of a name is what adding it costs, and it is known there.
                self._groups = theirs.key_groups(codes)
                self._names.extend(names)
                # Last, so that whoever finds a code finds the rest too.
                self._codes.update(zip(names, range(len(names)), strict=True))
                return codes
        return self.encode(names)

    def encode_arrow(self, array: pa.Array) -> npt.NDArray[np.int32]:
        """Return the codes of an Arrow string or dictionary array without nulls, (n,) int32."""
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        translate = self.encode(str(name) for name in array.dictionary.to_pylist())
        indices: npt.NDArray[np.int32] = array.indices.to_numpy(zero_copy_only=False)
        return translate[indices]

    def decode(self, codes: npt.NDArray[np.int32]) -> pa.DictionaryArray:
        """Return codes as an Arrow dictionary array over the names they use."""
        used, indices = np.unique(codes, return_inverse=True)
        names = pa.array([self._names[code] for code in used.tolist()], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), names)
