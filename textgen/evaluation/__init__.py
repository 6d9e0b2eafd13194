"""How good a model is: nats per character and what is derived from them."""
