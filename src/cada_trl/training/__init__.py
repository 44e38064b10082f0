"""Training: a run, the trainers of its methods, what they learn from, when to stop. cada.py touches TRL inside."""
