"""A grid of trainings: its cells, how they are run, what is known of each."""
