"""Does the verdict follow the cases and the analysis? Both are changed, and the change of the verdict is counted."""
