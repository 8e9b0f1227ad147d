"""Pure torch: generators of records and progress. Knows neither Django nor Celery, and runs in a
notebook.
"""
