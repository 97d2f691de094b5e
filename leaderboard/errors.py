"""The one error of this package."""


class LeaderboardError(ValueError):
    """Bad input to the leaderboard: the message is one line that names the file, the line and the field."""
