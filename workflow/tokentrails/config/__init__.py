"""Reading and checking the configuration and the experiment files."""
