"""holdfast node --config FILE, and its commands for a node that does not run."""

from __future__ import annotations

import json
from typing import Final

import click

from holdfast.command_line import json_option
from holdfast.node_inspection import check_node, rebuild_node
from holdfast.node_process import node_process
from holdfast.process_options import config_option, process_options
from node.recordlog.inspection import Report

_SHOWN: Final = 20
_FOUND: Final = 1


@click.group(invoke_without_command=True)
@process_options(config_required=False)
@click.pass_context
def node(
    context: click.Context, *, path: str | None, as_json: bool, stop_with_stdin: bool
) -> None:
    """Run one node until SIGTERM, which lets requests under way finish.

    Settings can be overridden by the environment: HOLDFAST_NODE_ID and so on.
    """
    if context.invoked_subcommand is not None:
        return
    if path is None:
        raise click.UsageError("Missing option '--config'.")
    node_process(path, as_json=as_json, with_stdin=stop_with_stdin)


@node.command()
@config_option("The node's configuration, TOML.")
@json_option
def check(*, path: str, as_json: bool) -> int:
    """Read and hash everything that a stopped node keeps, and say what is wrong.

    Changes nothing. Exit code 1 when something was found. Only for the store pages.
    """
    report = check_node(path)
    if as_json:
        click.echo(json.dumps(_as_json(report)))
    else:
        click.echo(
            f"{report.segments} segments, {report.records} records, {report.copies} good copies"
        )
        for finding in report.findings[:_SHOWN]:
            click.echo(f"{finding.problem.value}: {finding.detail}")
        more = len(report.findings) - _SHOWN
        if more > 0:
            click.echo(f"and {more} more; --json shows all")
        if not report.findings:
            click.echo("nothing is wrong")
    return _FOUND if report.findings else 0


@node.command()
@config_option("The node's configuration, TOML.")
@json_option
def rebuild(*, path: str, as_json: bool) -> None:
    """Make the index of a stopped node anew from its log. Only for the store pages.

    A node does so by itself when it cannot open its index, or finds it damaged while it runs; this
    is for whoever does not trust it and does not want to wait.
    """
    made = rebuild_node(path)
    if as_json:
        value = {"segments": made.segments, "batches": made.batches, "records": made.records}
        click.echo(json.dumps(value))
    else:
        source = f"{made.batches} batches in {made.segments} segments of the log"
        click.echo(f"{made.records} records from {source}; the next start adds the last batch")


def _as_json(report: Report) -> dict[str, object]:
    return {
        "segments": report.segments,
        "records": report.records,
        "copies": report.copies,
        "findings": [
            {"problem": finding.problem.value, "detail": finding.detail}
            for finding in report.findings
        ],
    }
