"""Bridges to market_data_core, market_data_store and market_data_ibkr, each behind an extra."""
