"""Customers and what they order."""

import uuid

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Region(models.Model):
    """The same on every node."""

    code = models.CharField(max_length=8, primary_key=True)
    name = models.CharField(max_length=80)


class Customer(models.Model):
    """Sharded by its key."""

    name = models.CharField(max_length=80, db_index=True)
    region = models.ForeignKey(Region, models.PROTECT)
    clerk = models.ForeignKey(User, models.SET_NULL, null=True)
    token = models.UUIDField(default=uuid.uuid4)
    profile = models.JSONField(default=dict)
    labels = ArrayField(models.CharField(max_length=20), default=list)
    since = models.DateTimeField(auto_now_add=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(name=""), name="customer_has_name")]
        indexes = [models.Index(fields=["region", "-since"], name="customer_region_since")]


class Order(models.Model):
    """Lies with its customer."""

    pk = models.CompositePrimaryKey("customer_id", "number")
    customer = models.ForeignKey(Customer, models.CASCADE)
    number = models.IntegerField()
    reference = models.CharField(max_length=40)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    is_paid = models.BooleanField(default=False)
    took = models.DurationField(null=True)
    scan = models.BinaryField(null=True)
    priority = models.SmallIntegerField(default=1)
    shipped_to = models.ForeignKey(Region, models.PROTECT, null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["customer", "reference"], name="order_reference"),
            models.CheckConstraint(condition=models.Q(priority__gte=0), name="order_priority"),
        ]
        indexes = [models.Index(fields=["total"], name="order_unpaid", condition=models.Q(is_paid=False))]


class Stock(models.Model):
    """Sharded by a text."""

    sku = models.CharField(max_length=20, primary_key=True)
    quantity = models.PositiveIntegerField(default=0)
    note = models.TextField(blank=True, default="")
