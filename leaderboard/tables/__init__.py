"""Which values are compared, how they are ranked, and how people read them."""
