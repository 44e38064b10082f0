"""From raw rows to the request set: sources, duplicates, hazard classification, decontamination and split."""
