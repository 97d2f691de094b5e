"""Images and reports to tokens and back."""
