"""Columns that several tables share."""
