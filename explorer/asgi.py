"""The web server's way in: `uvicorn explorer.asgi:application`."""

import gc
import os

import django

from explorer.http.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
# Each request has a thread of its own, and would open a connection of its own: that took as long as
# a page.
# A text that somebody typed holds one while a worker reads it, so there are more than a busy site
# needs for its pages.
os.environ.setdefault("FEATURESCOPE_CONNECTIONS", "60")

django.setup(set_prefix=False)
application = Handler()

# What is imported stays, and a page makes some thousand boxes: to go through both again and again
# took a tenth of its time.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)
