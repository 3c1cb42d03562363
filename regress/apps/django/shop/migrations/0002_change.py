import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F


def fill(apps, schema_editor):
    apps.get_model("shop", "Stock").objects.update(note=F("sku"))


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_begin")]

    operations = [
        migrations.AddField("customer", "address", models.GenericIPAddressField(null=True)),
        migrations.AddField("order", "priority", models.SmallIntegerField(default=1)),
        migrations.AddField("order", "shipped_to", models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="shop.region")),
        migrations.RenameField("order", "amount", "total"),
        migrations.AlterField("order", "reference", models.CharField(max_length=40)),
        migrations.AddConstraint("order", models.CheckConstraint(condition=models.Q(priority__gte=0), name="order_priority")),
        migrations.AddIndex("order", models.Index(fields=["total"], name="order_unpaid", condition=models.Q(is_paid=False))),
        migrations.AddField("stock", "note", models.TextField(blank=True, default="")),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
