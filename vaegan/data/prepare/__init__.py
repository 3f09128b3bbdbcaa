"""From raw photos and videos to a data set: `prepare`, step by step.

gather (sources, named) -> engine (faces, video, reshard) -> parts -> merge.
"""

from vaegan.data.prepare.run import Summary, prepare
from vaegan.data.prepare.settings import Settings, Splits, parse_framing, parse_split

__all__ = ["Settings", "Splits", "Summary", "parse_framing", "parse_split", "prepare"]
