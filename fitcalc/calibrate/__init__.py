"""Measurements to fitted efficiencies."""
