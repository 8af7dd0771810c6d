"""The published claims, each tested against the tables of this run."""
