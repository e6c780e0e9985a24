"""The papers' printed numbers, and one's own beside them, as tables and figures."""
