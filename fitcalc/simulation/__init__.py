"""Steps to percentiles event by event."""
