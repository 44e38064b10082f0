"""The terminal chat: a conversation, and what of an answer is shown."""
