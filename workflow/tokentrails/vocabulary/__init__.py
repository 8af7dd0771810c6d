"""States as seen from the vocabulary: ranks, nearest words, spaces."""
