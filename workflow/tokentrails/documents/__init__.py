"""The tables that people read: one workbook and one page per text."""
