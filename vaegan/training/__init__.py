"""Training: the Lightning module, its callbacks and the run itself. Never imported by transfer."""
