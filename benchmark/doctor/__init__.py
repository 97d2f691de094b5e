"""What can run on this machine and what is missing; what is wrong with a checkpoint."""
