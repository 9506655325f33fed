"""Capacity is a test like any other."""

from __future__ import annotations

from fitcalc.pytest_plugin import FitcalcCheck


def test_capacity(fitcalc_check: FitcalcCheck) -> None:
    found = fitcalc_check("fitcalc.toml", locked=True)
    assert [one.name for one in found.scenarios] == ["chat", "batch"]
