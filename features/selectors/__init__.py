"""Page-shaped reads, by noun: page and API call the same one, with a constant number of queries."""
