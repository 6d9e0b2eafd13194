"""Adam and AdamW whose update is one operation a variable.

Keras spends some ten small operations on each variable, which at small networks is a
fair part of a step. TensorFlow's kernel computes the same formula in one pass.
Variables, schedule, clipping and decay are Keras' own.

Sources: Kingma & Ba 2015, in the form at the end of their section 2; Loshchilov &
Hutter 2019.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from textgen.config import TrainingConfig

BETA_2 = 0.99  # of AdamW: short trainings need a shorter memory than Keras' 0.999


class SummedAdam(keras.optimizers.Adam):
    """Keras' Adam for gradients that are those of the whole batch on every replica.

    Keras clips before it adds up the replicas' gradients, and so each by the norm of
    its own rows. Here whoever calls ``apply`` has added them up already.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


class _FastAdam(SummedAdam):
    """Adam with another update, which works where it `finds_moments`."""

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable and its moments; called by Keras."""
        momentum, velocity = self._moments(variable)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def finds_moments(self, variables: list[keras.Variable]) -> bool:
        """Whether Keras keeps them, a private matter, where `update_step` looks."""
        try:
            moments = [self._moments(variable) for variable in variables]
        except (AttributeError, LookupError, TypeError):
            return False
        return all(
            moment.shape == variable.shape
            for variable, pair in zip(variables, moments, strict=True)
            for moment in pair
        )

    def _moments(self, variable: tf.Variable) -> tuple[keras.Variable, keras.Variable]:
        index = self._get_variable_index(variable)
        return self._momentums[index], self._velocities[index]


def make_optimizer(
    config: TrainingConfig, variables: list[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Build the Keras optimizer of the variables; biases are never decayed.

    The gradients that it applies must be added up over the replicas.
    """
    optimizer = _make(_FastAdam, config, variables)
    if optimizer.finds_moments(variables):
        return optimizer
    unknown = "this version of Keras is not known to textgen"
    warnings.warn(f"{unknown}: training is a little slower", stacklevel=2)
    return _make(SummedAdam, config, variables)


def _make(
    kind: type[keras.optimizers.Adam],
    config: TrainingConfig,
    variables: list[keras.Variable],
) -> keras.optimizers.Adam:
    options: dict[str, Any] = {"global_clipnorm": config.clip_norm or None}
    if config.optimizer == "adamw":  # which Keras makes of Adam in the same way
        options |= {"weight_decay": config.weight_decay, "beta_2": BETA_2}
    optimizer = kind(float(config.learning_rate), **options)  # no whole number
    if config.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    return optimizer
