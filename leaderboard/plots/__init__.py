"""Pictures of tables, as PNG with a text that says what they show."""
