"""A sweep's folder in the report: safety against helpfulness of its cells, and what no other cell beats."""
