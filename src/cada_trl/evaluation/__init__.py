"""Measuring a model: generate, judge, count."""
