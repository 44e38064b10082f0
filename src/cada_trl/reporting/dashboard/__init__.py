"""The dashboard of tracking/panels.py as a part of the offline page."""
