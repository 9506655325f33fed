"""The pytest plugin: ``def test_capacity(fitcalc_check): fitcalc_check("fitcalc.toml")``.

Nothing of fitcalc is imported before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from fitcalc.planning.check_file import FileCheck


class FitcalcCheck(Protocol):
    """Check a file of scenarios; fail the test with the limits that broke."""

    def __call__(
        self,
        path: str | Path = "fitcalc.toml",
        *,
        scenarios: Sequence[str] = (),
        baseline: str | Path | None = None,
        locked: bool = False,
    ) -> FileCheck:
        """Return the verdict, or fail the test.

        Args:
            path: The file, relative to pytest's root folder.
            scenarios: Only these; none = all.
            baseline: A lock or a plan's JSON to say what changed since then.
            locked: Fail also where an answer differs from the lock's.
        """


@pytest.fixture
def fitcalc_check(pytestconfig: pytest.Config) -> FitcalcCheck:
    """Check a ``fitcalc.toml``: the test fails where a scenario misses its promise."""

    def run(
        path: str | Path = "fitcalc.toml",
        *,
        scenarios: Sequence[str] = (),
        baseline: str | Path | None = None,
        locked: bool = False,
    ) -> FileCheck:
        from fitcalc.errors import FitcalcError  # noqa: PLC0415 - pytest starts without fitcalc
        from fitcalc.planning.check_file import check_file  # noqa: PLC0415

        root = pytestconfig.rootpath
        before = None if baseline is None else root / baseline
        found: FileCheck | str
        try:
            found = check_file(root / path, scenarios=scenarios, baseline=before, locked=locked)
        except FitcalcError as error:
            found = str(error)
        if isinstance(found, str):
            pytest.fail(found, pytrace=False)
        if not found:
            pytest.fail(found.markdown(), pytrace=False)
        return found

    return run
