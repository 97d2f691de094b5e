"""What reports say of the findings: the report checker of version 2."""
