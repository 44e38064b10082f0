"""What a run leaves behind: the metric registry, the run folder, its manifest, the W&B mirror and the live line."""
