"""Train one configuration on some seeds."""
