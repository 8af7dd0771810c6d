"""Training a small model from scratch, with checkpoints from its first step to its last.

It needs no model hub: the text comes out of a package of the Python registry. Also fitting a lens
to any model.
"""
