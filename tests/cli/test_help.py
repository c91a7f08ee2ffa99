"""`--help` has to be enough: every option says what it is for, in words."""

from collections.abc import Iterator

import click
import pytest

from kpiaudit.cli.run import COMMANDS, cli

NO_ENVIRONMENT = {"--table", "--quiet", "--verbose", "--no-progress", "--help"}


def _commands(
    group: click.Group, above: str = "kpiaudit"
) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{above} {name}")


PAGES = {"kpiaudit": cli, **dict(_commands(cli))}


def _help(name: str) -> str:
    command = PAGES[name]
    return command.get_help(click.Context(command, info_name=name, terminal_width=80))


@pytest.mark.parametrize("name", PAGES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    for parameter in PAGES[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help is not None, parameter.name
            assert len(parameter.help.split()) >= 4, parameter.help


@pytest.mark.parametrize("name", PAGES)
def test_every_argument_is_explained_in_the_text(name: str) -> None:
    command = PAGES[name]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            shown = parameter.make_metavar(click.Context(command))
            word = shown.strip("[]{}.").split("|")[0]
            assert word in (command.help or ""), f"{name}: {shown}"


def test_the_list_of_commands_cuts_no_line_short() -> None:
    listed = _help("kpiaudit")
    assert "..." not in listed.partition("Commands:")[2]
    for name, (_, said) in COMMANDS.items():
        assert f"{name} " in listed
        assert said in listed


def test_what_help_says_of_the_environment_is_true() -> None:
    for parameter in PAGES["kpiaudit scan"].params:
        if isinstance(parameter, click.Option):
            name = max(parameter.opts, key=len)
            expected = "KPIAUDIT_" + name.strip("-").replace("-", "_").upper()
            wanted = None if name in NO_ENVIRONMENT else expected
            assert parameter.envvar == wanted, name


def test_help_tells_the_exit_statuses() -> None:
    told = " ".join(_help("kpiaudit scan").split())
    for status in ("0 nothing", "1 findings", "2 bad usage", "3 input", "4 an error"):
        assert status in told
