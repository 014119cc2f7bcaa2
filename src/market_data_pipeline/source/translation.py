"""Batches made elsewhere, over the symbol table of the run."""

from __future__ import annotations

__all__ = ("Translation",)

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.symbols import SymbolTable


class Translation:
    """Gives batches the codes of the run's symbol table."""

    def __init__(self, symbols: SymbolTable) -> None:
        self._symbols = symbols
        self._known: SymbolTable | None = None
        self._known_count = 0
        self._codes: npt.NDArray[np.int32] | None = None

    def own(self, batch: Batch) -> Batch:
        """Return a batch with the run's codes; the column itself where they are the same."""
        columns = batch.columns
        if batch.symbols is not self._symbols and "symbol" in columns:
            codes = self._codes_of(batch.symbols)
            if codes is not None:
                columns = {**columns, "symbol": codes[columns["symbol"]]}
        return Batch(batch.schema, columns, self._symbols)

    def _codes_of(self, theirs: SymbolTable) -> npt.NDArray[np.int32] | None:
        """Return the run's code for each code of another table, None if all are the same."""
        if theirs is not self._known or len(theirs) != self._known_count:
            codes = self._symbols.encode_table(theirs)
            self._known, self._known_count = theirs, len(codes)
            same = np.array_equal(codes, np.arange(len(codes)))
            self._codes = None if same else codes
        return self._codes
