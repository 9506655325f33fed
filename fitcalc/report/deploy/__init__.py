"""A choice as files that start it: shell lines, Compose, Kubernetes, KServe, SkyPilot, a test."""
