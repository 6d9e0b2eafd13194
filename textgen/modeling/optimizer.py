"""Adam and AdamW whose update is one operation a variable.

Keras spends some ten small operations on each variable, which at small networks is a
fair part of a step. TensorFlow's kernel computes the same formula in one pass.
Variables, schedule, clipping and decay are Keras' own.

Sources: Kingma & Ba 2015, in the form at the end of their section 2; Loshchilov &
Hutter 2019.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from textgen.config import TrainingConfig

BETA_2 = 0.99  # of AdamW: short trainings need a shorter memory than Keras' 0.999


class _OneOperation:
    """Replaces the update of Keras' Adam.

    Keras keeps the names of the moments to itself; tests/test_optimizer.py notices if
    they change.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable and its moments; called by Keras."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class _Adam(_OneOperation, keras.optimizers.Adam):
    pass


class _AdamW(_OneOperation, keras.optimizers.AdamW):
    pass


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Build the Keras optimizer of a configuration; biases are never decayed."""
    options = {"global_clipnorm": config.clip_norm or None}
    rate = float(config.learning_rate)  # Keras takes no whole number
    if config.optimizer == "adam":
        return _Adam(rate, **options)
    optimizer = _AdamW(rate, weight_decay=config.weight_decay, beta_2=BETA_2, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
