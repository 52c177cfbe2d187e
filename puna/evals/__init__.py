"""Model -> scores with confidence intervals: tasks, baselines, statistics. The public names are in the modules."""
