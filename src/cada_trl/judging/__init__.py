"""Who says REFUSED, COMPLIED or UNSCORED: phrases (offline), rubric (an LLM), and their agreement with human labels."""
