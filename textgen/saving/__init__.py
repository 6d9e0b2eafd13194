"""The model file.

Container, sandboxed reader, Keras' descriptions of all versions, the trained model.
"""
