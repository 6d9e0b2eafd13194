"""From a configuration to a saved model.

Schedule, loop, progress, checkpoint, resume.
"""
