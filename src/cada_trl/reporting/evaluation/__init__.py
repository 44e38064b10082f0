"""Evaluations and utility results: rates with intervals, differences in pairs, the paper beside them."""
