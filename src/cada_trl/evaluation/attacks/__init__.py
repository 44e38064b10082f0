"""Attacks: what is sent to the model instead of a harmful request."""
