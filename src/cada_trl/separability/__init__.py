"""How well a model could tell harmful from harmless requests after learning from a request set, before any training."""
