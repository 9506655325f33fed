"""fitcalc: which GPU, how many, which settings, at what cost, for this model and this traffic.

Names are imported when they are first used, so that ``fitcalc --help`` waits for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fitcalc.answers import Interval, Limit, MemoryLedger, Percentiles, Prediction, Rejection
    from fitcalc.catalog.own import calibration
    from fitcalc.errors import FitcalcError
    from fitcalc.inputs.buying import Buying, OwnedServer
    from fitcalc.inputs.engine import EngineArgs
    from fitcalc.inputs.fleet import Outage, Pools, Servers
    from fitcalc.inputs.lengths import Lengths
    from fitcalc.inputs.mixture import Mix, TrafficClass
    from fitcalc.inputs.rates import Rates
    from fitcalc.inputs.risk import Risk
    from fitcalc.inputs.scaling import Scaling
    from fitcalc.inputs.slo import Slo
    from fitcalc.inputs.speculation import Speculation
    from fitcalc.inputs.trace import Trace
    from fitcalc.inputs.traffic import Traffic
    from fitcalc.planning.check import Check, check
    from fitcalc.planning.check_file import FileCheck, check_file
    from fitcalc.planning.choice import Choice, Plan
    from fitcalc.planning.compare import compare
    from fitcalc.planning.comparison import Comparison
    from fitcalc.planning.explain import Explanation, explain
    from fitcalc.planning.fits import fit
    from fitcalc.planning.plan import plan
    from fitcalc.planning.pool_sizes import smallest_pools
    from fitcalc.planning.predict import predict
    from fitcalc.planning.simulated import simulate
    from fitcalc.planning.sweep import sweep
    from fitcalc.planning.swept import Sweep, SweepRow
    from fitcalc.planning.why import ParetoPoint, Sensitivity
    from fitcalc.report.deploy.targets import Manifests, Target, manifests
    from fitcalc.simulation.report import Simulation

__all__ = [
    "Buying",
    "Check",
    "Choice",
    "Comparison",
    "EngineArgs",
    "Explanation",
    "FileCheck",
    "FitcalcError",
    "Interval",
    "Lengths",
    "Limit",
    "Manifests",
    "MemoryLedger",
    "Mix",
    "Outage",
    "OwnedServer",
    "ParetoPoint",
    "Percentiles",
    "Plan",
    "Pools",
    "Prediction",
    "Rates",
    "Rejection",
    "Risk",
    "Scaling",
    "Sensitivity",
    "Servers",
    "Simulation",
    "Slo",
    "Speculation",
    "Sweep",
    "SweepRow",
    "Target",
    "Trace",
    "Traffic",
    "TrafficClass",
    "calibration",
    "check",
    "check_file",
    "compare",
    "explain",
    "fit",
    "manifests",
    "plan",
    "predict",
    "simulate",
    "smallest_pools",
    "sweep",
]

_HOMES = {
    "answers": ("Interval", "Limit", "MemoryLedger", "Percentiles", "Prediction", "Rejection"),
    "catalog.own": ("calibration",),
    "errors": ("FitcalcError",),
    "inputs.buying": ("Buying", "OwnedServer"),
    "inputs.engine": ("EngineArgs",),
    "inputs.fleet": ("Outage", "Pools", "Servers"),
    "inputs.lengths": ("Lengths",),
    "inputs.mixture": ("Mix", "TrafficClass"),
    "inputs.rates": ("Rates",),
    "inputs.risk": ("Risk",),
    "inputs.scaling": ("Scaling",),
    "inputs.slo": ("Slo",),
    "inputs.speculation": ("Speculation",),
    "inputs.trace": ("Trace",),
    "inputs.traffic": ("Traffic",),
    "planning.check": ("Check", "check"),
    "planning.check_file": ("FileCheck", "check_file"),
    "planning.choice": ("Choice", "Plan"),
    "planning.explain": ("Explanation", "explain"),
    "planning.fits": ("fit",),
    "planning.plan": ("plan",),
    "planning.pool_sizes": ("smallest_pools",),
    "planning.predict": ("predict",),
    "planning.simulated": ("simulate",),
    "planning.sweep": ("sweep",),
    "planning.swept": ("Sweep", "SweepRow"),
    "report.deploy.targets": ("Manifests", "Target", "manifests"),
    "planning.compare": ("compare",),
    "planning.comparison": ("Comparison",),
    "planning.why": ("ParetoPoint", "Sensitivity"),
    "simulation.report": ("Simulation",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'fitcalc' has no attribute {name!r}")
    value: object = getattr(import_module(f"fitcalc.{_HOME[name]}"), name)
    globals()[name] = value
    return value
