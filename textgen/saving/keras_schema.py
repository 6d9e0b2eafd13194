"""Which layers and settings of Keras are known: the whitelist, as data.

Every setting that a file may hold is listed here: those that determine what a layer
computes, and those that play a part in training only. What isn't listed is refused,
since nobody can say what it would mean, unless it is off (None or False): a newer
Keras may describe its layers with more settings than there are today.
"""

from __future__ import annotations

from collections.abc import Mapping

# What isn't read, as a layer or a setting, but has a remedy to be told.
_WITHOUT_MASKING = "save it again without masking (no Masking layer, mask_zero=False)"
REMEDIES: Mapping[str, str] = {
    "Masking": _WITHOUT_MASKING,
    "mask_zero": _WITHOUT_MASKING,
    "NotEqual": _WITHOUT_MASKING,  # what Keras 3 writes into a functional model for it
    "time_major": "save it again with time_major=False",
}

_OF_ALL = "name trainable dtype batch_input_shape batch_shape"
_OF_CUDNN = (
    "units return_sequences return_state go_backwards stateful "
    # In training only.
    "kernel_initializer recurrent_initializer bias_initializer unit_forget_bias "
    "kernel_regularizer recurrent_regularizer bias_regularizer activity_regularizer "
    "kernel_constraint recurrent_constraint bias_constraint dropout recurrent_dropout "
    "seed implementation unroll"
)
_OF_RNN = f"{_OF_CUDNN} use_bias activation zero_output_for_mask"
_OF_NORMALIZATION = (
    "axis epsilon center scale "
    # In training only.
    "beta_initializer gamma_initializer beta_regularizer gamma_regularizer "
    "beta_constraint gamma_constraint"
)
_SETTINGS: Mapping[str, str] = {
    "InputLayer": "sparse ragged optional",
    "Embedding": (
        "input_dim output_dim input_length quantization_config "
        "embeddings_initializer embeddings_regularizer embeddings_constraint "
        "activity_regularizer sparse"
    ),
    "LSTM": f"{_OF_RNN} recurrent_activation",
    "GRU": f"{_OF_RNN} recurrent_activation reset_after",
    "SimpleRNN": _OF_RNN,
    "CuDNNLSTM": _OF_CUDNN,
    "CuDNNGRU": _OF_CUDNN,
    "Dropout": "rate noise_shape seed",
    "SpatialDropout1D": "rate noise_shape seed",
    "Dense": (
        "units activation use_bias quantization_config "
        "kernel_initializer bias_initializer kernel_regularizer bias_regularizer "
        "activity_regularizer kernel_constraint bias_constraint"
    ),
    "TimeDistributed": "layer",
    "Activation": "activation",
    "Bidirectional": "layer backward_layer merge_mode",
    "GaussianNoise": "stddev seed",
    "BatchNormalization": (
        f"{_OF_NORMALIZATION} momentum moving_mean_initializer "
        "moving_variance_initializer synchronized renorm renorm_momentum"
    ),
    "LayerNormalization": f"{_OF_NORMALIZATION} rms_scaling",
    "Softmax": "axis",
    "ReLU": "max_value negative_slope threshold",
    "LeakyReLU": "negative_slope alpha",  # alpha up to Keras 2
}
KNOWN_SETTINGS: Mapping[str, frozenset[str]] = {
    kind: frozenset(f"{_OF_ALL} {settings}".split())
    for kind, settings in _SETTINGS.items()
}
LAYERS = tuple(KNOWN_SETTINGS)
ONE_DIRECTION = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")
RECURRENT_LAYERS = (*ONE_DIRECTION, "Bidirectional")
# Once a model is trained.
IDLE_LAYERS = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise")
# Those that work on each step alone, with arrays or without.
STEPWISE_LAYERS = (
    *("Dense", "Activation", "BatchNormalization", "LayerNormalization"),
    *("Softmax", "ReLU", "LeakyReLU"),
)
WITHOUT_ARRAYS = (*IDLE_LAYERS, "Activation", "Softmax", "ReLU", "LeakyReLU")

# Of the model itself, and of what stands around a layer's settings.
KNOWN_MODEL_KEYS = frozenset(
    {"name", "trainable", "dtype", "layers"}
    | {"input_layers", "output_layers", "build_input_shape"}
)
KNOWN_ITEM_KEYS = frozenset(
    {"class_name", "config", "name", "inbound_nodes"}
    | {"module", "registered_name", "build_config", "shared_object_id"}
    | {"compile_config"}
)

# Weights are computed as float32, whatever the policy; integers are refused, but as the
# type of an Embedding's input.
POLICIES = (
    *("float16", "float32", "float64", "mixed_float16", "mixed_bfloat16"),
    *("int32", "int64", "uint8"),
)
