"""How anything reaches the disk: whole files, locks, logs that only grow, digests, closed JSON records."""
