"""Steps to percentiles in closed form."""
