"""The trainings and evaluations of a sweep or of a paper's table: what they are, how they run, what came of each."""
