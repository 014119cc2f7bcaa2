"""Pipelines of version 0.8 from end to end: into a real database, from code and from files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import market_data_pipeline as mdp
from market_data_pipeline.cli.main import cli as mdp_cli
from market_data_pipeline.cli.pipelines import cli as pipelines_cli
from market_data_pipeline.pipeline_builder import PipelineBuilder, create_pipeline
from support.optional_packages import real_package
from support.postgres import Database

TICKS = 40


@pytest.fixture
def ticks(tmp_path: Path) -> Path:
    """Return a file of 10 s of ticks of two symbols."""
    lines = [
        f"2024-01-02T14:30:{i // 4:02d}.{i % 4 * 25:02d}Z,{'AB'[i % 2]},{100 + i}.5,2"
        for i in range(TICKS)
    ]
    file = tmp_path / "ticks.csv"
    file.write_text("\n".join(["timestamp,symbol,price,size", *lines]))
    return file


def spec_file(folder: Path, **settings: object) -> Path:
    spec = {"tenant_id": "acme", "pipeline_id": "p", "source": "replay", "sink": "database"}
    file = folder / "spec.json"
    file.write_text(json.dumps(spec | settings))
    return file


def stored(database: Database) -> list[tuple[object, ...]]:
    return database.rows(
        "SELECT symbol, count(*), sum(volume), min(open_price), max(close_price) "
        "FROM bars GROUP BY 1 ORDER BY 1"
    )


EXPECTED = [("A", 10, 40, 100.5, 138.5), ("B", 10, 40, 101.5, 139.5)]


def test_replay_into_a_database_writes_every_bar(postgres_database: Database, ticks: Path) -> None:
    """All bars are there when the pipeline is closed, the open ones too."""
    pipeline = create_pipeline(
        *("acme", "p"),
        source="replay",
        sink="database",
        overrides={
            "replay_path": str(ticks),
            "replay_speed": 0,
            "drop_policy": "block",
            "database_url": postgres_database.dsn,
        },
    )

    async def steps() -> mdp.RunResult:
        result: mdp.RunResult = await pipeline.run()
        await pipeline.close()
        return result

    result = asyncio.run(steps())
    assert stored(postgres_database) == EXPECTED
    assert result.ledger.balanced
    assert result.ledger["sink"].rows_out == 20
    assert postgres_database.rows("SELECT DISTINCT tenant_id::text, vendor, timeframe FROM bars")


def test_synthetic_into_a_database_stops_after_its_time(postgres_database: Database) -> None:
    """`build_and_run` keeps to the duration of the spec."""
    spec = mdp.PipelineSpec(
        *("acme", "p", "synthetic", ["A", "B"], 1.2),
        sink="database",
        overrides=mdp.PipelineOverrides(
            ticks_per_sec=40, database_url=postgres_database.dsn, batch_size=2
        ),
    )
    asyncio.run(PipelineBuilder().build_and_run(spec))
    assert [row[0] for row in stored(postgres_database)] == ["A", "B"]


def test_store_sink_writes_through_the_package(
    postgres_database: Database, ticks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sink `store` reaches `bars_ohlcv` by the client of market_data_store."""
    real_package("market_data_store", "store")
    postgres_database.rows(
        "CREATE TABLE bars_ohlcv (provider text, symbol text, interval text, ts timestamptz, "
        "open double precision NOT NULL, high double precision NOT NULL, "
        "low double precision NOT NULL, close double precision NOT NULL, "
        "volume double precision NOT NULL, PRIMARY KEY (provider, symbol, interval, ts))"
    )
    postgres_database.rows("GRANT ALL ON bars_ohlcv TO PUBLIC")
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    overrides = {"replay_path": str(ticks), "replay_speed": 0, "drop_policy": "block"}
    for _ in range(2):
        pipeline = create_pipeline("acme", "p", source="replay", overrides=overrides)
        asyncio.run(pipeline.run())
    assert postgres_database.rows(
        "SELECT symbol, interval, count(*), sum(volume) FROM bars_ohlcv GROUP BY 1, 2 ORDER BY 1"
    ) == [("A", "1s", 10, 40.0), ("B", "1s", 10, 40.0)]


def invoke(group: object, *line: str) -> Result:
    return CliRunner().invoke(group, list(line))  # type: ignore[arg-type]


@pytest.mark.parametrize("door", ["mdp run", "mdp-legacy runspec"])
def test_spec_file_runs_from_the_command_line(
    door: str, postgres_database: Database, ticks: Path, tmp_path: Path
) -> None:
    """Either command runs it, and says where every row went; no password is shown."""
    overrides = {"replay_path": str(ticks), "replay_speed": 0, "drop_policy": "block"}
    file = spec_file(tmp_path, overrides={**overrides, "database_url": postgres_database.dsn})
    if door == "mdp run":
        shown = invoke(mdp_cli, "run", str(file))
    else:
        shown = invoke(pipelines_cli, "runspec", "--spec", str(file))
    assert shown.exit_code == 0, shown.output
    assert "acme:p" in shown.output
    assert postgres_database.password not in shown.output
    assert stored(postgres_database) == EXPECTED


def test_pipeline_runs_from_the_command_line(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mdp-legacy run` runs for its duration and ends well."""
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    line = "run --tenant acme --source synthetic --symbols A,B --sink database --duration 1.2"
    shown = invoke(pipelines_cli, *line.split())
    assert shown.exit_code == 0, shown.output
    assert "interrupted" not in shown.output
    assert [row[0] for row in stored(postgres_database)] == ["A", "B"]


@pytest.mark.parametrize("command", ["graph", "validate"])
def test_spec_file_is_drawn_and_checked(ticks: Path, tmp_path: Path, command: str) -> None:
    """Whatever takes the file of a graph takes a spec file too."""
    file = spec_file(tmp_path, overrides={"replay_path": str(ticks)})
    shown = invoke(mdp_cli, command, str(file))
    assert shown.exit_code == 0, shown.output
    assert "acme:p" in shown.output or "batcher" in shown.output
    wrong = spec_file(tmp_path, source="synthetic")
    assert "synthetic source requires symbols" in invoke(mdp_cli, command, str(wrong)).output


def test_rate_of_a_config_counts_where_none_is_said(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The default of `--rate` is no order."""
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    config = tmp_path / "config.yaml"
    config.write_text("ticks_per_sec: 5\n")
    line = "run --tenant acme --source synthetic --symbols A --sink database --duration 1.2"
    shown = invoke(pipelines_cli, *line.split(), "--config", str(config))
    assert shown.exit_code == 0, shown.output
    assert 0 < postgres_database.rows("SELECT sum(trade_count) FROM bars")[0][0] < 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --tenant a --source synthetic --sink database", "synthetic source requires symbols"),
        ("run --tenant a --source replay --sink database", "replay source requires"),
        ("run --tenant a --source nothing", "synthetic"),
        ("runspec --spec nowhere.json", "nowhere.json"),
    ],
)
def test_wrong_command_line_is_told(line: str, said: str) -> None:
    """One message, and exit code 2."""
    shown = invoke(pipelines_cli, *line.split())
    assert shown.exit_code == 2
    assert said in shown.output


def test_schema_is_printed() -> None:
    """`mdp-legacy schema` prints the JSON Schema of spec files."""
    shown = invoke(pipelines_cli, "schema")
    assert json.loads(shown.output)["required"] == ["tenant_id", "pipeline_id", "source"]
