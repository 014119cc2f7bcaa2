"""`mdp checkpoint`: look after the checkpoints of a pipeline."""

from __future__ import annotations

__all__ = ("command",)

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from market_data_pipeline.cli.codes import FAILED
from market_data_pipeline.cli.output import format_bytes, format_table, format_time, print_json

if TYPE_CHECKING:
    from market_data_pipeline.dag.checkpoints.manifest import Manifest
    from market_data_pipeline.dag.checkpoints.store import Store

_EPILOG: Final = """\b
PATH is the folder with the checkpoints, their address in a store elsewhere, or the
pipeline file that names them.

\b
Examples:
  mdp checkpoint list pipeline.yaml
  mdp checkpoint show state/ 17
  mdp checkpoint verify state/
  mdp checkpoint verify s3://bucket/job
  mdp checkpoint prune state/ --retain 3
"""

_PATH: Final = click.argument("path", type=click.Path())
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(epilog=_EPILOG, short_help="Look after the checkpoints of a pipeline.")
def command() -> None:
    """Look after the checkpoints that runs go on from."""


@command.command("list", short_help="List the checkpoints.")
@_PATH
@_JSON
def list_(path: str, as_json: bool) -> None:  # noqa: FBT001
    """List the checkpoints in PATH, oldest first; only manifests are looked at."""
    with closing(_store(path)) as store:
        found = [_summary(store, epoch) for epoch in store.decided()]
    if as_json:
        print_json({"path": str(store), "checkpoints": found})
        return
    if not found:
        click.echo(f"{store}: no checkpoints")
        return
    names = ("epoch", "job", "lineage", "taken", "size", "state")
    rows = [[row[name] for name in names] for row in found]
    for row in rows:
        row[4] = None if row[4] is None else format_bytes(row[4])
    click.echo(format_table(names, rows))


@command.command(short_help="Show what is in a checkpoint.")
@_PATH
@click.argument("epoch", type=click.IntRange(1), required=False)
@_JSON
def show(path: str, epoch: int | None, as_json: bool) -> None:  # noqa: FBT001
    """Show what is in checkpoint EPOCH of PATH, or in the newest."""
    from market_data_pipeline.cli.summary import format_ledger
    from market_data_pipeline.dag.metrics import Ledger

    with closing(_store(path)) as store:
        manifest = store.load(_newest(store) if epoch is None else epoch)
    if as_json:
        print_json(asdict(manifest))
        return
    end = ", the end of the job" if manifest.complete else ""
    click.echo(
        f"checkpoint {manifest.epoch} of `{manifest.job}` (lineage {manifest.lineage}), taken "
        f"{format_time(manifest.taken_ns)}{end}\n"
    )
    nodes = [manifest.nodes[node.name] for node in manifest.graph]
    click.echo(format_ledger(Ledger(tuple(node.account for node in nodes))))
    states = [_node_row(manifest, node.name) for node in manifest.graph]
    click.echo("\n" + format_table(("node", "type", "stands at", "state"), states))


@command.command(short_help="Check that checkpoints are what was written.")
@_PATH
@_JSON
@click.pass_context
def verify(ctx: click.Context, path: str, as_json: bool) -> None:  # noqa: FBT001
    """Check every byte of the checkpoints in PATH; exit code 1 if one is damaged."""
    with closing(_store(path)) as store:
        found = {epoch: _problems(store, epoch) for epoch in store.decided()}
    damaged = any(found.values())
    if as_json:
        checked = [{"epoch": epoch, "problems": told} for epoch, told in found.items()]
        print_json({"path": str(store), "sound": not damaged, "checkpoints": checked})
    else:
        for epoch, told in found.items():
            click.echo(f"{epoch}: {'; '.join(told) or 'sound'}")
        if not found:
            click.echo(f"{store}: no checkpoints")
    if damaged:
        ctx.exit(FAILED)


@command.command(short_help="Delete old checkpoints.")
@_PATH
@click.option(
    "--retain", type=click.IntRange(1), default=3, show_default=True, help="How many to keep."
)
@_JSON
def prune(path: str, retain: int, as_json: bool) -> None:  # noqa: FBT001
    """Delete all checkpoints in PATH but the newest, and what runs left that were killed."""
    with closing(_store(path)) as store:
        holder = store.open()
        if holder is not None:
            msg = f"{store}: {holder} uses these checkpoints, or did until a moment ago"
            raise click.UsageError(msg)
        decided = store.decided()
        manifests = [store.load(epoch) for epoch in decided[-retain:]]
        needed = {
            int(staged.folder.partition("/")[0])
            for manifest in manifests
            for sink in manifest.sinks.values()
            for staged in sink.staged
        }
        gone = store.prune(needed, retain=retain)
        kept = store.decided()
    if as_json:
        print_json({"path": str(store), "deleted": gone, "kept": kept})
        return
    click.echo(f"{store}: {len(gone)} deleted, {len(kept)} kept")


def _store(path: str) -> Store:
    from market_data_pipeline.dag.checkpoints.addresses import is_address
    from market_data_pipeline.dag.checkpoints.stores import store_at

    if is_address(path) or Path(path).is_dir():
        return store_at(path)
    if not Path(path).exists():
        msg = f"there is neither a folder with checkpoints nor a pipeline file at `{path}`"
        raise click.UsageError(msg)
    from market_data_pipeline.spec.loader import load_file

    checkpoint = load_file(path, check=False).checkpoint
    if checkpoint is None:
        msg = f"`{path}` has no `checkpoint`"
        raise click.UsageError(msg)
    return store_at(checkpoint.path)


def _newest(store: Store) -> int:
    decided = store.decided()
    if not decided:
        msg = f"there are no checkpoints in `{store}`"
        raise click.UsageError(msg)
    return decided[-1]


def _summary(store: Store, epoch: int) -> dict[str, Any]:
    from market_data_pipeline.errors import CheckpointError, CheckpointsUnreachableError

    try:
        manifest = store.load(epoch)
    except CheckpointsUnreachableError:
        raise
    except CheckpointError as err:
        return {
            **dict.fromkeys(("job", "lineage", "taken", "size")),
            "epoch": epoch,
            "state": str(err),
        }
    return {
        "epoch": epoch,
        "job": manifest.job,
        "lineage": manifest.lineage,
        "taken": format_time(manifest.taken_ns),
        "size": manifest.size,
        "state": "complete" if manifest.complete else "to go on from",
    }


def _node_row(manifest: Manifest, name: str) -> list[object]:
    record = manifest.nodes[name]
    kind = next(node.type for node in manifest.graph if node.name == name)
    mark = record.progress.get("watermark")
    files = [manifest.files[f].size for f in (record.state, record.held) if f is not None]
    at = "the end" if record.ended else format_time(mark)
    return [name, kind, at, format_bytes(sum(files)) if files else None]


def _problems(store: Store, epoch: int) -> list[str]:
    from market_data_pipeline.errors import CheckpointError, CheckpointsUnreachableError

    try:
        return store.problems(store.load(epoch))
    except CheckpointsUnreachableError:
        raise
    except CheckpointError as err:
        return [str(err)]
