"""Training runs: probes before and after, curves and samples."""
