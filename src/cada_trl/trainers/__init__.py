"""TRL trainers of ours. cada.py is the one file that touches TRL's internals."""
