"""Values as functions of sums by patient: their intervals and comparisons."""
