"""Records in; tables, plots and one self-contained page out. Imports `medim.common` and nothing else of ours.
`leaderboard.record.Record` is the schema, `leaderboard.build.build` makes the page."""
