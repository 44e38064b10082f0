"""cada_trl: Case-Augmented Deliberative Alignment (arXiv 2601.08000) on TRL."""

__version__ = "0.1.0"
