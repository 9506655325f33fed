"""Modules that need torch are collected only where it is installed; wrong charts are errors."""

import os
from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["fitcalc/calibrate/bench/*"]
os.environ["FITCALC_CHECK_CHARTS"] = "1"
