import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from shop.placing import Distribute, Replicate


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        # Tables that others refer to come first.
        Replicate(
            "django_content_type", "auth_permission", "auth_group", "auth_group_permissions", "auth_user",
            "auth_user_groups", "auth_user_user_permissions",
        ),
        migrations.CreateModel(
            "Region",
            [
                ("code", models.CharField(max_length=8, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=80)),
            ],
        ),
        Replicate("shop_region"),
        migrations.CreateModel(
            "Customer",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(db_index=True, max_length=80)),
                ("token", models.UUIDField(default=uuid.uuid4)),
                ("profile", models.JSONField(default=dict)),
                ("labels", django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), default=list, size=None)),
                ("since", models.DateTimeField(auto_now_add=True)),
                ("region", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="shop.region")),
                ("clerk", models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=~models.Q(name=""), name="customer_has_name")],
                "indexes": [models.Index(fields=["region", "-since"], name="customer_region_since")],
            },
        ),
        Distribute("shop_customer", "id"),
        migrations.CreateModel(
            "Order",
            [
                ("pk", models.CompositePrimaryKey("customer_id", "number", blank=True, editable=False, primary_key=True, serialize=False)),
                ("customer", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="shop.customer")),
                ("number", models.IntegerField()),
                ("reference", models.CharField(max_length=20)),
                ("amount", models.DecimalField(decimal_places=2, max_digits=12)),
                ("is_paid", models.BooleanField(default=False)),
                ("took", models.DurationField(null=True)),
                ("scan", models.BinaryField(null=True)),
            ],
        ),
        Distribute("shop_order", "customer_id", with_table="shop_customer"),
        migrations.AddConstraint(
            "order", models.UniqueConstraint(fields=["customer", "reference"], name="order_reference")
        ),
        migrations.CreateModel(
            "Stock",
            [
                ("sku", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField(default=0)),
            ],
        ),
        Distribute("shop_stock", "sku"),
    ]
