"""What differs between two runs, or two evaluations, what each difference means, and where it first shows."""
