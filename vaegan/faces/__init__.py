"""Finding faces: geometry, the tracker and its backends."""
