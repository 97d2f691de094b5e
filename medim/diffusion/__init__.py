"""Theory of the noise: schedules, transitions, the loss."""
