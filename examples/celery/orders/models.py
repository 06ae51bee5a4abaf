from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=100)
    currency = models.CharField(max_length=3)
    cents = models.IntegerField()
    status = models.CharField(max_length=20, default='new')
    invoice = models.CharField(max_length=20, default='')
    reminded = models.BooleanField(default=False)
