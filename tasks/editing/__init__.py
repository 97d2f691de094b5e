"""One finding more or less: the image follows the report, the rest stays."""
