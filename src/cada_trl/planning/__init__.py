"""Memory and time of a run, worked out before it starts: pure functions of its configuration, without torch."""
