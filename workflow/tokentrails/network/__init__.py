"""A checkpoint as a network: its architecture, weights, parts and residual stream."""
