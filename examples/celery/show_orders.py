"""Prints what the site's own database says of its orders."""

import django

import shop  # noqa: F401

django.setup()

from orders.models import Order  # noqa: E402

for order in Order.objects.order_by('id'):
    print(f'order {order.id} of {order.customer}: {order.status} {order.invoice}{" (reminded)" if order.reminded else ""}'.rstrip())
