"""Other libraries' models and folders of predictions as systems under test."""
