"""The page: views of tables, verdicts and samples, with its template, style, script and guide."""
