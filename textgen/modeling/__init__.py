"""The Keras network and its fast forward and backward pass; TensorFlow from here on."""
