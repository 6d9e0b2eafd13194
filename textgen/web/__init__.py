"""The server: the completions protocol over HTTP, and what guards it."""
