"""The methods of training: each file builds one kind of trainer from a run; registry.py names them."""

from cada_trl.config.algo import METHODS

MODULES = {name: f"cada_trl.methods.{name}" for name in METHODS}
