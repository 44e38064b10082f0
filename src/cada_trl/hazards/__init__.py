"""The hazards: their ids, minimal codes, cases and extensive codes, as a pack of YAML files."""

from cada_trl.hazards.pack import Case, ExtensiveCode, Hazard, HazardPack, Incorrect, load_pack, pack_hash

__all__ = ["Case", "ExtensiveCode", "Hazard", "HazardPack", "Incorrect", "load_pack", "pack_hash"]
