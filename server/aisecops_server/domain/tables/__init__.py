"""The tables that people edit, and the data that rules look up."""
