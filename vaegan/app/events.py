"""How events of the page run: none of them is an interface for other programs."""

PRIVATE = {"api_visibility": "private"}
QUIET = {**PRIVATE, "show_progress": "hidden"}
"""Without Gradio's own sign of waiting."""

AT_ONCE = {**QUIET, "queue": False, "trigger_mode": "always_last"}
"""What a hand waits for: not queued, and of several moves the last one counts."""

HEAVY = {**PRIVATE, "show_progress": "minimal", "concurrency_id": "heavy", "concurrency_limit": 2}
"""Long jobs: two at once, of all visitors."""
