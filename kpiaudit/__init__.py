"""Finds gamed customer-service KPIs in the exports you already have."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpiaudit.audit import scan
    from kpiaudit.detectors.base import Detector, param
    from kpiaudit.errors import KpiauditError
    from kpiaudit.findings import Finding, Report
    from kpiaudit.tables.dataset import Dataset
    from kpiaudit.tables.load import load

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Detector",
    "Finding",
    "KpiauditError",
    "Report",
    "load",
    "param",
    "scan",
]

_HOME = {
    "Dataset": "kpiaudit.tables.dataset",
    "Detector": "kpiaudit.detectors.base",
    "Finding": "kpiaudit.findings",
    "KpiauditError": "kpiaudit.errors",
    "Report": "kpiaudit.findings",
    "load": "kpiaudit.tables.load",
    "param": "kpiaudit.detectors.base",
    "scan": "kpiaudit.audit",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import kpiaudit` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'kpiaudit' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
