"""Turn any market-data feed into clean bars and events in your store."""
