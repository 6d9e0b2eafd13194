"""How well textgen predicts held-out text, and how new its own text is."""
