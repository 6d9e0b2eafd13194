"""How many characters a second textgen trains on and generates, beside others."""
