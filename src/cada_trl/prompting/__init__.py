"""Text on both sides of the model: requests to messages (arms) and completions to reasoning and final response."""
