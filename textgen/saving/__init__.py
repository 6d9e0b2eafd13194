"""The model file: container, sandboxed reader, Keras' descriptions, trained model."""
