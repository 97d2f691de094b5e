"""Results of finished runs: compared with each other, checked against their sums, scored again."""
