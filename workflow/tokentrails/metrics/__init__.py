"""The measures. Each module makes one table from states, and says its formula and its source."""
