import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kpiaudit import testing
from kpiaudit.detectors import catalogue
from kpiaudit.errors import DetectorError

PLUGIN = Path(__file__).parent.parent / "plugin"


@pytest.fixture
def fresh() -> Iterator[None]:
    catalogue.detectors.cache_clear()
    yield
    catalogue.detectors.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> Path:
    """Install the example plugin as pip would: its package and its metadata."""
    info = tmp_path / "acme_kpis-1.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-kpis\nVersion: 1.2.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[kpiaudit.detectors]\nweekend-calls = acme_kpis:WeekendCalls\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    sys.modules.pop("acme_kpis", None)
    return info


def test_every_built_in_detector_is_documented_and_named_after_its_file() -> None:
    for name, kind in catalogue.detectors().items():
        testing.check_documentation(kind)
        assert kind.id == name
        assert kind.__module__.rpartition(".")[2] == name.replace("-", "_")
        assert set(kind.needs).isdisjoint(kind.uses)


def test_an_installed_plugin_is_found(plugin: Path) -> None:
    assert "weekend-calls" in catalogue.detectors()


def test_a_plugin_that_does_not_load_is_named_with_its_version(plugin: Path) -> None:
    (plugin / "entry_points.txt").write_text(
        "[kpiaudit.detectors]\nweekend-calls = acme_kpis_gone:WeekendCalls\n"
    )
    with pytest.raises(DetectorError, match=r"acme-kpis 1\.2\.0"):
        catalogue.detectors()


def test_a_plugin_that_is_no_detector_is_refused(plugin: Path) -> None:
    (plugin / "entry_points.txt").write_text(
        "[kpiaudit.detectors]\nweekend-calls = acme_kpis:Account\n"
    )
    with pytest.raises(DetectorError, match=r"no kpiaudit\.Detector"):
        catalogue.detectors()


def test_a_plugin_with_a_taken_id_is_refused(plugin: Path) -> None:
    (plugin / "entry_points.txt").write_text(
        "[kpiaudit.detectors]\n"
        "one = acme_kpis:WeekendCalls\n"
        "two = acme_kpis:WeekendCalls\n"
    )
    with pytest.raises(DetectorError, match="already taken"):
        catalogue.detectors()


def test_an_unknown_detector_is_answered_with_a_guess() -> None:
    with pytest.raises(DetectorError, match="Did you mean 'short-calls'"):
        catalogue.detector("short-cals", where="here")


def test_a_plugin_without_its_facts_is_refused() -> None:
    entry = EntryPoint(
        name="bare", value="kpiaudit.detectors.base:Detector", group=catalogue.GROUP
    )
    with pytest.raises(DetectorError, match="lacks id"):
        catalogue.load_plugin(entry)
