"""Data sets: reading shards, caching, preparing and checking."""
