"""Run folders in, pages out: tables, figures and provenance of what was scored, readable without this program."""
