"""Who says refused or complied, harmful or not: phrases (offline), rubrics of an LLM, guard models; the judge card."""
