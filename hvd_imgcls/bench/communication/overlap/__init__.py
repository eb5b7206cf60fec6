"""`bench overlap`: steps that communicate while they compute."""
