"""The paper's tables: what their cells are, which jobs fill them, what came of it beside the published numbers."""
