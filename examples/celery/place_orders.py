"""Places three orders, each a chain of four steps in two languages, and prints what has become of them."""

import time

import django

import shop  # noqa: F401 (the app that the tasks belong to)

django.setup()

from celery import chain, signature  # noqa: E402
from django.core.management import call_command  # noqa: E402
from orders.models import Order  # noqa: E402
from orders.tasks import book, hold, reserve  # noqa: E402

call_command('migrate', run_syncdb=True, verbosity=0)
invoice = signature('billing.invoice')  # tasks of the Node service, by their names
archive = signature('billing.archive')

placed = []
for customer, currency, cents in [('Ada', 'EUR', 1999), ('Grace', 'USD', 4200), ('Barbara', 'CHF', 950)]:
    order = Order.objects.create(customer=customer, currency=currency, cents=cents)
    workflow = chain(reserve.s(order.id), invoice, book.s(), archive)
    placed.append((order, workflow.apply_async(link_error=hold.s(order.id))))

for order, result in placed:
    try:
        print(f'order {order.id} of {order.customer}: archived as {result.get(timeout=15)}')
    except Exception as error:
        print(f'order {order.id} of {order.customer}: {type(error).__name__}: {error}')
        while order.status != 'on hold':  # the errback is a task of its own
            time.sleep(0.05)
            order.refresh_from_db()
        print(f'order {order.id} of {order.customer}: {order.status}')
