"""One file per job kind: from the row of a job, through the pipeline, to rows of results."""
