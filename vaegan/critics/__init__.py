"""Frozen torch networks that judge pictures, for training and for measuring: LPIPS, a face embedder, our landmarker."""
