"""Running on one machine: embedded PostgreSQL, a broker of files, and the processes of `manage.py
up`.
"""
