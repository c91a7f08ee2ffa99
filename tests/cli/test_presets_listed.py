"""`kpiaudit presets`: what is recognised, and a preset to copy."""

from .conftest import Run


def test_presets_are_listed_with_what_they_rest_on(run: Run) -> None:
    done = run("presets")
    assert done.returncode == 0
    assert "asterisk-queue-log (calls, agent_states)\n" in done.stdout
    assert "(doc; not tried on a real export)" in done.stdout


def test_a_preset_is_printed_as_it_ships(run: Run) -> None:
    done = run("presets", "five9-call-log")
    assert done.returncode == 0
    assert "name: five9-call-log\n" in done.stdout


def test_a_preset_that_is_none_is_bad_usage_with_a_guess(run: Run) -> None:
    done = run("presets", "five9")
    assert done.returncode == 2
    assert "no preset 'five9'. Did you mean 'five9-call-log'?" in done.stderr


def test_a_misspelt_platform_names_its_presets(run: Run) -> None:
    done = run("presets", "zendeks")
    assert "zendesk-talk-calls, zendesk-talk-legs" in done.stderr
    assert "'kpiaudit presets' lists all" in done.stderr
