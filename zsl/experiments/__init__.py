"""Methods on data: search on folds, runs over seeds, tables, studies, comparisons."""
