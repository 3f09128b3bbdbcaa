"""The commands: parsing and messages only."""
