"""What one moves and watches in a notebook: a condensation that can be paused, explorers of sets and selections."""
