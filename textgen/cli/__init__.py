"""The commands: arguments, the conversation, printing."""
