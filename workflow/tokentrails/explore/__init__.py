"""The explorer: a page on this machine that shows the paths of a text's tokens as it is typed."""
