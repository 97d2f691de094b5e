"""From predictions to scores: what every task shares above the metrics themselves."""
