"""What can run on this machine, and what is missing."""
