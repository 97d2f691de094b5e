"""Records in; tables, plots and one self-contained page out. Imports none of the other packages.

`leaderboard.record.Record` is the schema, `leaderboard.build.build` makes the page.
"""
