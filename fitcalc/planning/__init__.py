"""The search for a configuration, its cost and its defence."""
