"""Benchmarks: how fast and how good textgen is, as ratios measured in one run.

Run each from the root of a clone, as a module; ``--help`` says what it measures:

    python -m benchmarks.speed.training_speed       training beside Keras and PyTorch
    python -m benchmarks.speed.generation_speed     generation beside Keras and PyTorch
    python -m benchmarks.speed.large_corpus         memory for a text of 1 GB
    python -m benchmarks.speed.compare_checkouts    this code beside an earlier commit
    python benchmarks/fingerprints.py OUTPUT        hashes of trainings and of texts
    python -m benchmarks.quality.held_out_loss      held-out loss by seconds of training
    python -m benchmarks.quality.novelty            how much of a text is recited
    python -m benchmarks.quality.forms              rhyme and metre of sonnets

PyTorch comes with ``python -m pip install -e '.[bench]'``; without it, its rows are
left out. ``harness`` runs programs side by side and prints tables.
"""
