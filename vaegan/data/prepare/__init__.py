"""From raw photos and videos to a data set, step by step (`run.prepare`).

gather (sources, named) -> engine (faces, video, reshard) -> parts -> merge.
"""
