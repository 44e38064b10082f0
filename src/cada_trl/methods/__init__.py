"""The methods of training: each file builds one kind of trainer from a run; registry.py names them."""
