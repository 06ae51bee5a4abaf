"""A site as any other that has Celery. run.mjs says in the environment where things are."""

import os

SECRET_KEY = 'of an example'
INSTALLED_APPS = ['orders']
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': os.environ['SHOP_DATABASE'], 'OPTIONS': {'timeout': 20}}}
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
USE_TZ = True

CELERY_BROKER_URL = os.environ['SHOP_BROKER']
CELERY_RESULT_BACKEND = os.environ['SHOP_RESULTS']
CELERY_RESULT_EXPIRES = 60
CELERY_TASK_DEFAULT_QUEUE = os.environ['SHOP_QUEUE']
# all that the site knows of the Node service: which queue its tasks go to
CELERY_TASK_ROUTES = {'billing.*': {'queue': os.environ['BILLING_QUEUE']}}
