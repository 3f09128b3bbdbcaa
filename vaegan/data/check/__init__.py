"""What is in a data set, and whether one can trust it: `check_data`.

pictures and videos (looked at one by one) -> findings (sentences) -> report (JSON, PNG, HTML).
"""

from vaegan.data.check.checked import Checked, check_data
from vaegan.data.check.findings import Finding

__all__ = ["Checked", "Finding", "check_data"]
