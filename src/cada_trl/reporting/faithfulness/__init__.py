"""Faithfulness probes: what each intervention did to the verdicts, with paired intervals."""
