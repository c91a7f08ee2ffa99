"""Honest centres from a seed, with planted patterns and innocent look-alikes."""

from kpiaudit.tables.simulate.build import simulate as simulate
from kpiaudit.tables.simulate.build import write as write
from kpiaudit.tables.simulate.centre import HOW as HOW
from kpiaudit.tables.simulate.centre import LOOKALIKES as LOOKALIKES
from kpiaudit.tables.simulate.centre import PATTERNS as PATTERNS
from kpiaudit.tables.simulate.centre import Centre as Centre
from kpiaudit.tables.simulate.centre import Plant as Plant
from kpiaudit.tables.simulate.centre import Simulated as Simulated
from kpiaudit.tables.simulate.demo import demo as demo
