"""Which layers and settings of Keras are known: the whitelist, as data.

Every setting that a file may hold is listed here: those that determine what a layer
computes, and those that play a part in training only. What isn't listed is refused,
since nobody can say what it would mean.
"""

from __future__ import annotations

from collections.abc import Mapping

# Keras 1 → Keras 2, for what determines the result.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "LSTM": {
        "output_dim": "units",
        "inner_activation": "recurrent_activation",
    },
    "GRU": {
        "output_dim": "units",
        "inner_activation": "recurrent_activation",
    },
    "SimpleRNN": {"output_dim": "units"},
    "Dense": {"output_dim": "units", "bias": "use_bias"},
}

_ALL = "name trainable dtype batch_input_shape batch_shape input_dtype"
_RNN = (
    "units use_bias activation return_sequences return_state go_backwards stateful "
    "time_major zero_output_for_mask input_length"
)
_CUDNN = (
    "units return_sequences return_state go_backwards stateful time_major input_length"
)
_DENSE = "units activation use_bias quantization_config"

# Settings that are looked at, for each layer.
_TELLING: Mapping[str, str] = {
    "InputLayer": "",
    "Embedding": "input_dim output_dim input_length mask_zero quantization_config",
    "LSTM": f"{_RNN} recurrent_activation",
    "GRU": f"{_RNN} recurrent_activation reset_after",
    "SimpleRNN": _RNN,
    "CuDNNLSTM": _CUDNN,
    "CuDNNGRU": _CUDNN,
    "Dropout": "",
    "SpatialDropout1D": "",
    "Dense": _DENSE,
    "TimeDistributed": "layer",
    "Activation": "activation",
    "Masking": "mask_value",
}

_TRAINED_RNN = (
    "kernel_initializer recurrent_initializer bias_initializer unit_forget_bias "
    "kernel_regularizer recurrent_regularizer bias_regularizer activity_regularizer "
    "kernel_constraint recurrent_constraint bias_constraint dropout recurrent_dropout "
    "seed implementation unroll "
    # Keras 1
    "init inner_init forget_bias_init W_regularizer U_regularizer b_regularizer "
    "dropout_W dropout_U consume_less input_dim"
)

# Settings that change nothing once a model is trained.
_IDLE: Mapping[str, str] = {
    "InputLayer": "sparse ragged optional",
    "Embedding": (
        "embeddings_initializer embeddings_regularizer embeddings_constraint "
        "activity_regularizer sparse init W_regularizer W_constraint dropout"
    ),
    "LSTM": _TRAINED_RNN,
    "GRU": _TRAINED_RNN,
    "SimpleRNN": _TRAINED_RNN,
    "CuDNNLSTM": _TRAINED_RNN,
    "CuDNNGRU": _TRAINED_RNN,
    "Dropout": "rate p noise_shape seed",
    "SpatialDropout1D": "rate p noise_shape seed dim_ordering",
    "Dense": (
        "kernel_initializer bias_initializer kernel_regularizer bias_regularizer "
        "activity_regularizer kernel_constraint bias_constraint "
        "init W_regularizer b_regularizer W_constraint b_constraint input_dim"
    ),
    "TimeDistributed": "",
    "Activation": "",
    "Masking": "",
}

KNOWN_SETTINGS: Mapping[str, frozenset[str]] = {
    kind: frozenset(f"{_ALL} {telling} {_IDLE[kind]}".split())
    | frozenset(RENAMED.get(kind, {}))
    for kind, telling in _TELLING.items()
}
LAYERS = tuple(KNOWN_SETTINGS)
RECURRENT_LAYERS = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")
IDLE_LAYERS = ("InputLayer", "Dropout", "SpatialDropout1D")  # once a model is trained

# Of the model itself, and of what stands around a layer's settings.
KNOWN_MODEL_KEYS = frozenset(
    {"name", "trainable", "dtype", "layers"}
    | {"input_layers", "output_layers", "build_input_shape"}
)
KNOWN_ITEM_KEYS = frozenset(
    {"class_name", "config", "name", "inbound_nodes"}
    | {"module", "registered_name", "build_config", "shared_object_id"}
)

# What is computed is float32 whatever the policy; nothing else is float.
POLICIES = ("float16", "float32", "float64", "mixed_float16", "mixed_bfloat16")
INPUT_TYPES = ("int32", "int64", "uint8")  # of an Embedding's input
