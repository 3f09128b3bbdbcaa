"""From raw photos and videos to a data set, step by step (`run.prepare`).

jobs (sources, public_datasets; each done by faces, video or reshard) -> parts -> merge.
"""
