"""Pictures of the cases of version 2."""
