"""Completions: what the scripts are, and what a shell really gets from them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def path(program: Path) -> str:
    """A PATH on which `kpiaudit` is this one."""
    return f"{program.parent}:{os.environ['PATH']}"


def _shell(command: list[str], path: str, folder: Path) -> list[str]:
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_asks_the_command_for_completions(shell: str, run: Run) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert f"_KPIAUDIT_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


def test_another_shell_is_refused(run: Run) -> None:
    done = run("completion", "tcsh")
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr


# Bash calls the function with the words so far; what it offers is in COMPREPLY.
BASH = """
eval "$(kpiaudit completion bash)"
complete -p kpiaudit >&2
offer() {
    COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
    _kpiaudit_completion kpiaudit
    printf '%s\\n' "$*: ${COMPREPLY[*]}"
}
offer kpiaudit s
offer kpiaudit baseline u
offer kpiaudit scan --fail
offer kpiaudit scan --fail-on m
offer kpiaudit scan --select short
offer kpiaudit scan --format ju
offer kpiaudit scan --table ticket
offer kpiaudit scan --timezone Europe/Warsa
offer kpiaudit explain early
offer kpiaudit schema b
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_values(path: str, tmp_path: Path) -> None:
    said = _shell(["bash", "--norc", "-c", BASH], path, tmp_path)
    offered = dict(line.split(": ", 1) for line in said)
    assert offered == {
        "kpiaudit s": "scan show score-sheet schema",
        "kpiaudit baseline u": "update",
        "kpiaudit scan --fail": "--fail-on",
        "kpiaudit scan --fail-on m": "medium",
        "kpiaudit scan --select short": "short-calls",
        "kpiaudit scan --format ju": "junit",
        "kpiaudit scan --table ticket": "tickets= ticket_events=",
        "kpiaudit scan --timezone Europe/Warsa": "Europe/Warsaw",
        "kpiaudit explain early": "early-closure",
        "kpiaudit schema b": "baseline",
    }


def test_a_path_is_left_to_the_shell(run: Run) -> None:
    for words in ("scan ex", "scan --mapping m", "scan --baseline b", "show ID ex"):
        count = str(len(words.split()))
        done = run(
            env={
                "_KPIAUDIT_COMPLETE": "bash_complete",
                "COMP_WORDS": "\n".join(["kpiaudit", *words.split()]),
                "COMP_CWORD": count,
            }
        )
        assert done.stdout.splitlines()[0].startswith("file,"), words


def test_a_broken_configuration_does_not_stop_completion(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "kpiaudit.yaml").write_text("nonsense: [")
    env = {
        "_KPIAUDIT_COMPLETE": "bash_complete",
        "COMP_WORDS": "kpiaudit\nins",
        "COMP_CWORD": "1",
    }
    done = run(env=env)
    assert done.stdout == "plain,inspect\n"
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(path: str, tmp_path: Path) -> None:
    script = "kpiaudit completion fish | source; complete -C 'kpiaudit ins'"
    (said,) = _shell(["fish", "--no-config", "-c", script], path, tmp_path)
    assert said.split("\t")[0] == "inspect"


# Zsh's own completion needs a terminal; the function's way to the command does not.
ZSH = """
autoload -Uz compinit && compinit -u -d "$HOME/dump"
eval "$(kpiaudit completion zsh)"
print -r -- "${_comps[kpiaudit]}"
_describe() { print -r -- "$3 ${(P)2}"; print -r -- ${(P)3} }
compadd() { print -r -- "$@" }
words=(kpiaudit ins); CURRENT=2
_kpiaudit_completion
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(path: str, tmp_path: Path) -> None:
    said = _shell(["zsh", "-f", "-c", ZSH], path, tmp_path)
    assert said[0] == "_kpiaudit_completion"
    assert any("inspect:Say what each file was taken for" in line for line in said)
