"""The trained network in plain NumPy: weights, layers, and the decoder."""
