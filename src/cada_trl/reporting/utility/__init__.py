"""Utility results: accuracies with intervals, the paper beside them, differences in pairs."""
