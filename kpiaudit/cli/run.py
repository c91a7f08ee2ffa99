"""The command group, and what becomes of errors: statuses, messages, signals."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

import kpiaudit
from kpiaudit.cli import streams
from kpiaudit.cli.ending import INTERNAL, Failed
from kpiaudit.cli.interrupt import INTERRUPTED, run_interruptibly
from kpiaudit.cli.starting import seldom_collecting, single_threaded
from kpiaudit.later import put_off

COMMANDS = {
    "scan": ("scan", "Scan exports and print what warrants review."),
    "inspect": (
        "inspect",
        "Say what each file was taken for, and which rules can run.",
    ),
    "init": ("init", "Write a commented kpiaudit.yaml for the exports in PATH."),
    "rules": ("rules", "List the rules that would run, and with which parameters."),
    "explain": (
        "explain",
        "Explain a detector: evidence, parameters, what else it is.",
    ),
    "presets": (
        "presets",
        "List the formats that are recognised, or print one to copy.",
    ),
    "power": ("power", "Say what a scan could find, before relying on a clean one."),
    "show": ("show", "Print the records behind a finding."),
    "score-sheet": ("score_sheet", "Compare what a listener heard with the findings."),
    "convert": ("convert", "Convert exports to canonical Parquet, for repeated scans."),
    "demo": ("demo", "Write sample exports with planted patterns to FOLDER."),
    "schema": ("schema", "Print a JSON Schema, or check a file against it."),
    "baseline": (
        "baseline",
        "Keep what a run said: the next one says only what is new.",
    ),
    "config": ("config", "Print what scan would use, and where it came from."),
    "completion": ("completion", "Print the completion script of a shell."),
}
"""Module and first line of each command, so that the list costs no import."""


class _LazyGroup(click.Group):
    """A group whose commands are imported by name when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the documentation."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is no such command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"kpiaudit.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands from the table above, without importing any."""
        del ctx
        room = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, click.Command(name, help=said).get_short_help_str(room))
                    for name, (_, said) in COMMANDS.items()
                ]
            )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kpiaudit.__version__, prog_name="kpiaudit")
@click.option(
    "--config",
    metavar="FILE",
    envvar="KPIAUDIT_CONFIG",
    type=click.Path(),
    help="Read the settings there, instead of in the nearest kpiaudit.yaml, from the "
    "current folder upward. It stands before the command.",
)
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Find gamed customer-service KPIs in the exports you already have.

    Start with `kpiaudit inspect PATH` to see what a file was taken for, then run
    `kpiaudit scan PATH`. A finding is a pattern that warrants review by a person; it
    is no proof. `kpiaudit COMMAND --help` says more on each command.
    """
    from kpiaudit.cli import configuration

    put_off()
    configuration.install(ctx, config)


def run() -> NoReturn:
    """Run the command line and exit with the promised status."""
    streams.complete()
    seldom_collecting()
    single_threaded()
    status, message = run_interruptibly(_work)
    _say(message)
    sys.exit(status)


def _say(message: str) -> None:
    if message:
        from kpiaudit.outputs.clean import visible

        click.echo(f"kpiaudit: {visible(message)}", err=True)


def _work() -> tuple[int, str]:
    ending = _status_of(sys.argv[1:])
    _flush()
    return ending


def _status_of(  # noqa: PLR0911 - a table of endings reads best as one
    arguments: list[str],
) -> tuple[int, str]:
    try:
        result: Any = cli.main(arguments, "kpiaudit", standalone_mode=False)
    except Failed as outcome:
        return outcome.status, str(outcome)
    except click.exceptions.Exit as done:
        return done.exit_code, ""
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED, "interrupted"
    except click.ClickException as error:
        return 2, _misused(error)
    except BrokenPipeError:
        _drop_stdout()
        return 0, ""
    except SystemExit as stop:
        return (stop.code if isinstance(stop.code, int) else 1), ""
    except MemoryError:
        return INTERNAL, "out of memory. Scan fewer tables or a shorter period."
    except BaseException as error:  # noqa: BLE001 - the last resort, printed, never 0
        # A panic of polars is no Exception, and must not end as Python's own status 1.
        return _error(error)
    return (result if isinstance(result, int) else 0), ""


def _misused(error: click.ClickException) -> str:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # The whole help as one line would be unreadable: it goes above the last line.
        error.show()
        return "no command is given."
    return f"{' '.join(error.format_message().split())}{_usage(error)}"


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return ""
    return f"{_given_by(error, context)} See '{context.command_path} --help'."


def _given_by(error: click.ClickException, context: click.Context) -> str:
    """Say where a bad value came from, if the command line does not show it."""
    parameter = error.param if isinstance(error, click.BadParameter) else None
    if parameter is None or parameter.name is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    if source is click.core.ParameterSource.ENVIRONMENT:
        return f" It comes from {parameter.envvar}."
    if source is click.core.ParameterSource.DEFAULT_MAP:
        return f" It comes from {getattr(context.obj, 'path', 'the configuration')}."
    return ""


def _error(error: BaseException) -> tuple[int, str]:
    from kpiaudit.errors import KpiauditError

    if isinstance(error, KpiauditError):
        return error.exit_status, str(error)
    return INTERNAL, _internal(error)


def _internal(error: BaseException) -> str:
    import traceback

    if os.environ.get("KPIAUDIT_TRACEBACK"):
        click.echo("".join(traceback.format_exception(error)), err=True)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {place[0].name}, line {place[0].lineno}" if place else ""
    return (
        f"an error of kpiaudit's own: {type(error).__name__}: {error}{where}. Please "
        "report it; KPIAUDIT_TRACEBACK=1 prints the details."
    )


def _drop_stdout() -> None:
    """Send what is still to be flushed nowhere: the reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except (OSError, ValueError) as error:
        click.echo(f"kpiaudit: standard output can't be written ({error})", err=True)
        os._exit(INTERNAL)
