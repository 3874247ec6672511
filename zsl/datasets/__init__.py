"""Raw archives and official splits to instances, shards and folds."""
