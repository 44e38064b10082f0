"""Run, evaluation and utility folders in; curves, tables with intervals and one static page out."""
