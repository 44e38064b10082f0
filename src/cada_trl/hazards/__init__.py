"""The hazards: their ids, minimal codes, cases and extensive codes, as a pack of YAML files."""
