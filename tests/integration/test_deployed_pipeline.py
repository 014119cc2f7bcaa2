"""The pipeline of `deploy/` writes what it says into a real PostgreSQL."""

from __future__ import annotations

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.spec.loader import load_file
from support.deploy_files import DEPLOY
from support.postgres import postgres_server


def test_pipeline_of_the_compose_file_fills_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run twice, as after a restart, the table has each bar once."""
    overrides = ["ticks.rows=20000", "ticks.speed=max"]
    with postgres_server() as server:
        database = server.database()
        monkeypatch.setenv("DATABASE_URL", database.dsn)
        for _ in range(2):
            dag = load_file(DEPLOY / "pipeline/pipeline.yaml", overrides=overrides)
            result = mdp.run(dag)
            assert result.ledger["store"].rows_out > 0
        ((bars, different),) = database.rows(
            "select count(*), count(distinct (symbol, ts_open)) from bars"
        )
    assert bars == different > 0
