"""What a user asks for, a file each. Options load without torch; `run` loads the rest."""
