from celery import shared_task

from .models import Order


@shared_task(name='orders.reserve')
def reserve(order_id):
    Order.objects.filter(id=order_id).update(status='reserved')
    order = Order.objects.get(id=order_id)
    return {'order': order.id, 'customer': order.customer, 'currency': order.currency, 'cents': order.cents}


@shared_task(name='orders.book')
def book(invoice):
    Order.objects.filter(id=invoice['order']).update(status='invoiced', invoice=invoice['number'])
    return invoice


@shared_task(name='orders.hold')
def hold(task_id, order_id):
    """An errback: the task of this id has failed."""
    Order.objects.filter(id=order_id).update(status='on hold')


@shared_task(name='orders.reminded')
def reminded(order_id):
    Order.objects.filter(id=order_id).update(reminded=True)
    return order_id
