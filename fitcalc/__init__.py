"""fitcalc: which GPU, how many, which settings, at what cost, for this model and this traffic."""

from fitcalc.answers import Interval, Limit, MemoryLedger, Percentiles, Prediction, Rejection
from fitcalc.errors import FitcalcError
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.trace import Trace
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.check import Check, check
from fitcalc.planning.choice import Choice, Plan
from fitcalc.planning.plan import plan
from fitcalc.planning.predict import fit, predict

__all__ = [
    "Check",
    "Choice",
    "EngineArgs",
    "FitcalcError",
    "Interval",
    "Lengths",
    "Limit",
    "MemoryLedger",
    "Percentiles",
    "Plan",
    "Prediction",
    "Rejection",
    "Slo",
    "Trace",
    "Traffic",
    "check",
    "fit",
    "plan",
    "predict",
]
