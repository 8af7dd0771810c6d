"""Reading and writing files: tables, states, YAML, pages."""
