"""From texts to tokens, spans and words."""
