"""Folders of runs, evaluations and sweeps as read; their curves, their tables with intervals and the page of them."""
