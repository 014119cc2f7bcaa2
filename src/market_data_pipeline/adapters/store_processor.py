"""The batch processor behind version 0.8's sink `store`: the client of market_data_store."""

from __future__ import annotations

__all__ = ("AsyncBatchProcessor",)

import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, Self

from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.config import get_pipeline_config
from market_data_pipeline.errors import ConfigError

# The client copies larger batches, and fails at the second copy of one transaction.
_NEVER_COPY: Final = 1_000_000_000


class AsyncBatchProcessor:
    """Writes bars to the table `bars_ohlcv` through `datastore.AsyncStoreClient`.

    Of rows with the same key in one batch the last is written. A connection that failed is
    not used again: it would refuse everything from then on.

    Delivery: at least once; a row takes the place of one with the same key.
    """

    def __init__(self, url: str, *, interval: str = "1s") -> None:
        """Settle where to write; nothing is connected yet.

        Args:
            url: The PostgreSQL database.
            interval: How long a bar is, a column of each row.
        """
        self._url = url
        self._interval = interval
        self._client: Any = None

    @classmethod
    async def from_env_async(cls) -> Self:
        """Return the processor of the process's settings, or of `DATABASE_URL`.

        Raises:
            ConfigError: If neither says where the database is.
            MissingDependencyError: If market_data_store is not installed.
        """
        require_optional("datastore", extra="store")
        config = get_pipeline_config()
        url = config.database_url or os.environ.get("DATABASE_URL")
        if not url:
            msg = "the sink `store` needs `DATABASE_URL` or `PIPELINE_DATABASE_URL`"
            raise ConfigError(msg, parameter="database_url")
        return cls(url, interval=config.database_timeframe)

    async def upsert_bars(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write rows as the sink `store` gives them; return how many were sent.

        Raises:
            psycopg.Error: If the database refuses; another call connects anew.
        """
        bars = {}
        for row in rows:
            symbol = row["symbol"].upper()
            bars[row["source"], symbol, row["timestamp"]] = SimpleNamespace(
                provider=row["source"],
                symbol=symbol,
                interval=self._interval,
                ts=row["timestamp"],
                **{name: row[name] for name in ("open", "high", "low", "close", "volume")},
            )
        try:
            client = await self._connected()
            await client.write_bars(bars.values(), batch_size=len(bars))
        except BaseException:
            await self.aclose()
            raise
        return len(bars)

    async def aclose(self) -> None:
        """Disconnect. Called again it does nothing."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)

    async def _connected(self) -> Any:
        if self._client is None:
            package: Any = require_optional("datastore", extra="store")
            client = package.AsyncStoreClient(self._url, batch_threshold=_NEVER_COPY)
            self._client = await client.__aenter__()
        return self._client
