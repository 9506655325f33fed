"""What a user asks: traffic, service levels, engine settings, scenarios."""
