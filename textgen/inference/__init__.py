"""The trained network in plain NumPy.

Weights, layers, and the decoder that steps through a text.
"""
