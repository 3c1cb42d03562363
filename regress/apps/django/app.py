"""An application on Django: a shop. Each of its parts opens a connection of its own."""

import datetime
import decimal
import io
import os
import uuid

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery, Sum, Value, Window
from django.db.models.functions import Lower, Rank, TruncDay

from shop.models import Customer, Order, Region, Stock
from shop.placing import replicate


def migrate(*target):
    connection.close()
    call_command("migrate", *target, verbosity=0)


def begin():
    """Which migrations have run is to be known wherever the next connection leads."""
    MigrationRecorder(connection).ensure_schema()
    replicate(connection, ["django_migrations"])
    migrate("shop", "0001")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_stock SELECT 'early' || i, i FROM generate_series(1, 9) AS i")
    migrate()
    assert Stock.objects.filter(note=F("sku"), quantity__gt=0).delete()[0] == 9
    out = io.StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    call_command("check", "--database", "default", stdout=out)


def users():
    """django.contrib.auth, whose tables are the same on every node."""
    assert Permission.objects.filter(content_type__app_label="shop").count() == 16
    group = Group.objects.create(name="clerks")
    group.permissions.set(Permission.objects.filter(codename__startswith="change_"))
    clerk = User.objects.create_user("ada", "ada@example.org", "secret")
    clerk.groups.add(group)
    connection.close()
    clerk = authenticate(username="ada", password="secret")
    assert clerk is not None and clerk.has_perm("shop.change_order") and not clerk.has_perm("shop.add_order")
    try:
        with transaction.atomic():
            User.objects.create_user("ada")
        raise AssertionError("a user name came twice")
    except IntegrityError:
        pass
    return clerk


def rows(clerk):
    """Creating, in bulk and one by one, and finding again."""
    Region.objects.bulk_create([Region(code=c, name=c * 2) for c in ("north", "south")])
    customers = [
        Customer(
            name=f"customer {i}", region_id="north" if i % 2 else "south", clerk=clerk if i < 5 else None,
            profile={"age": i, "likes": ["tea", {"π": None}]}, labels=["all", f"l{i}"], address=f"10.0.0.{i}",
        )
        for i in range(20)
    ]
    Customer.objects.bulk_create(customers)
    assert len({c.pk for c in customers}) == 20
    connection.close()
    again = Customer.objects.get(pk=customers[7].pk)
    assert again.profile == {"age": 7, "likes": ["tea", {"π": None}]} and again.token == customers[7].token
    assert abs(datetime.datetime.now(datetime.UTC) - again.since) < datetime.timedelta(minutes=5)
    assert Customer.objects.filter(profile__age__gte=18, labels__contains=["all"]).count() == 2
    assert Customer.objects.get(labels__contains=["l3"]).address == "10.0.0.3"
    orders = [
        Order(customer=c, number=n, reference=f"r{n}", total=decimal.Decimal(n) / 2, took=datetime.timedelta(hours=n), scan=bytes([n, 0, 255]))
        for c in customers for n in range(10)
    ]
    assert len(Order.objects.bulk_create(orders, batch_size=77)) == 200
    one = Order.objects.get(pk=(customers[3].pk, 4))
    assert (one.total, one.took, bytes(one.scan)) == (2, datetime.timedelta(hours=4), b"\x04\0\xff")
    for order in orders:
        order.priority = order.number
    assert Order.objects.bulk_update(orders, ["priority"], batch_size=100) == 200
    return customers


def upserts(customers):
    """What comes twice is ignored, or changes what is there."""
    connection.close()
    Stock.objects.bulk_create([Stock(sku=f"s{i}", quantity=i) for i in range(30)])
    Stock.objects.bulk_create([Stock(sku=f"s{i}", quantity=99) for i in range(35)], ignore_conflicts=True)
    assert Stock.objects.aggregate(n=Count("*"), q=Sum("quantity")) == {"n": 35, "q": sum(range(30)) + 5 * 99}
    Stock.objects.bulk_create(
        [Stock(sku=f"s{i}", quantity=i, note="again") for i in range(40)],
        update_conflicts=True, unique_fields=["sku"], update_fields=["quantity", "note"],
    )
    assert Stock.objects.filter(note="again").aggregate(q=Sum("quantity"))["q"] == sum(range(40))
    reference = [Order(customer=c, number=100 + i, reference="r0", total=7) for i, c in enumerate(customers)]
    Order.objects.bulk_create(
        reference, update_conflicts=True, unique_fields=["customer", "reference"], update_fields=["total"]
    )
    assert Order.objects.filter(number__gte=100).count() == 0 and Order.objects.filter(total=7).count() == 20
    connection.close()
    assert Stock.objects.get_or_create(sku="s1", defaults={"quantity": 5})[1] is False
    assert Stock.objects.get_or_create(sku="new", defaults={"quantity": 5})[1] is True
    stock, created = Stock.objects.update_or_create(sku="new", defaults={"quantity": F("quantity") + 3})
    stock.refresh_from_db()
    assert (stock.quantity, created) == (8, False)
    stock.note = "saved"
    stock.save()
    assert Stock.objects.get(sku="new").note == "saved"
    assert Stock.objects.in_bulk(["s1", "s2", "none"]).keys() == {"s1", "s2"}


def queries(customers):
    """Joins, aggregates, subqueries, windows, set operations."""
    connection.close()
    # total is number / 2, and 7 for the first one.
    each = sum(range(1, 10)) / decimal.Decimal(2) + 7
    totals = Customer.objects.annotate(n=Count("order"), s=Sum("order__total", filter=Q(order__is_paid=False)))
    assert {(c.n, c.s) for c in totals} == {(10, each)}
    by_region = Region.objects.annotate(s=Sum("customer__order__total")).order_by("code").values_list("code", "s")
    assert list(by_region) == [("north", 10 * each), ("south", 10 * each)]
    latest = Order.objects.filter(customer=OuterRef("pk")).order_by("-number").values("reference")[:1]
    assert set(Customer.objects.annotate(r=Subquery(latest)).values_list("r", flat=True)) == {"r9"}
    large = Order.objects.filter(customer=OuterRef("pk"), total__gt=4)
    assert Customer.objects.filter(Exists(large), pk__in=[c.pk for c in customers[:3]]).count() == 3
    ranked = Order.objects.annotate(r=Window(Rank(), partition_by="customer", order_by=F("total").desc()))
    assert ranked.filter(r=1).count() == 20
    assert Customer.objects.annotate(day=TruncDay("since")).values("day").annotate(n=Count("pk")).order_by("day")[0]["n"] > 0
    joined = Order.objects.select_related("customer__region").filter(customer__name=Lower(Value("CUSTOMER 5"))).order_by("number")
    assert [(o.number, o.customer.region.code) for o in joined[:2]] == [(0, "north"), (1, "north")]
    fetched = Customer.objects.prefetch_related("order_set").order_by("name")
    assert all(len(c.order_set.all()) == 10 for c in fetched)
    union = Order.objects.filter(number=1).values_list("customer").union(Order.objects.filter(number=2).values_list("customer"))
    assert union.count() == 20
    assert Order.objects.values("number").distinct().count() == 10
    assert Order.objects.order_by("customer_id", "-number").distinct("customer_id").values_list("number", flat=True)[0] == 9
    with transaction.atomic():
        walked = sum(1 for _ in Order.objects.iterator(chunk_size=30))
    assert walked == 200
    paid = Order.objects.filter(customer__region="north", total__gte=3).update(is_paid=True, total=F("total") + 1)
    assert paid == 10 * 5, paid
    deleted, by_model = customers[0].delete()
    assert by_model == {"shop.Order": 10, "shop.Customer": 1} and deleted == 11
    connection.close()
    assert Order.objects.count() == 190


def transactions(customers):
    """Nested blocks, errors that are caught, locks, deferred keys."""
    a, b = customers[1], customers[2]
    with transaction.atomic():
        Customer.objects.filter(pk=a.pk).update(name="kept")
        for bad in (
            lambda: Customer.objects.filter(pk=b.pk).update(name=""),
            lambda: Order.objects.create(customer=b, number=1, reference="other", total=1),
            lambda: Order.objects.create(customer=b, number=50, reference="r1", total=1),
            lambda: Order.objects.filter(pk=(b.pk, 1)).update(priority=-1),
        ):
            try:
                with transaction.atomic():
                    Customer.objects.filter(pk=b.pk).update(name="undone")
                    bad()
                raise AssertionError("nothing refused it")
            except IntegrityError:
                pass
        with transaction.atomic():
            Customer.objects.filter(pk=b.pk).update(name="kept")
    connection.close()
    assert Customer.objects.filter(name="kept").count() == 2
    # Foreign keys are looked at when the transaction ends.
    try:
        with transaction.atomic():
            Order.objects.create(customer_id=-1, number=1, reference="nobody's", total=1)
            assert Order.objects.filter(customer_id=-1).exists()
        raise AssertionError("a foreign key did nothing")
    except IntegrityError as error:
        assert "foreign key" in str(error), error
    with transaction.atomic():
        Order.objects.create(customer_id=-2, number=1, reference="early", total=1)
        Customer.objects.create(pk=-2, name="late", region_id="north")
    Customer.objects.get(pk=-2).delete()
    done = []
    with transaction.atomic():
        locked = Stock.objects.select_for_update().get(sku="s1")
        locked.quantity += 1
        locked.save(update_fields=["quantity"])
        transaction.on_commit(lambda: done.append(True))
        other = connection.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT sku FROM shop_stock WHERE sku IN ('s1', 's2') FOR UPDATE SKIP LOCKED")
                assert cursor.fetchall() == [("s2",)]
                try:
                    cursor.execute("SELECT sku FROM shop_stock WHERE sku = 's1' FOR UPDATE NOWAIT")
                    raise AssertionError("a locked row was locked again")
                except DatabaseError as error:
                    assert error.__cause__.sqlstate == "55P03"
        finally:
            other.close()
    assert done == [True] and Stock.objects.get(sku="s1").quantity == 2


def introspection():
    """What Django reads of the tables."""
    connection.close()
    with connection.cursor() as cursor:
        look = connection.introspection
        tables = {table.name for table in look.get_table_list(cursor) if table.type == "t"}
        assert tables == {
            "auth_group", "auth_group_permissions", "auth_permission", "auth_user", "auth_user_groups",
            "auth_user_user_permissions", "django_content_type", "django_migrations", "shop_customer", "shop_order",
            "shop_region", "shop_stock",
        }, tables
        assert look.get_primary_key_columns(cursor, "shop_order") == ["customer_id", "number"]
        assert look.get_primary_key_columns(cursor, "shop_customer") == ["id"]
        assert look.get_relations(cursor, "shop_order") == {
            "customer_id": ("id", "shop_customer"), "shipped_to_id": ("code", "shop_region"),
        }
        sequences = look.get_sequences(cursor, "shop_customer")
        assert [(s["table"], s["column"]) for s in sequences] == [("shop_customer", "id")], sequences
        constraints = look.get_constraints(cursor, "shop_order")
        kinds = {
            name: [kind for kind in ("primary_key", "unique", "check", "index") if c[kind]] + c["columns"]
            for name, c in constraints.items() if not name.startswith("shop_order_")
        }
        assert kinds == {
            "order_reference": ["unique", "customer_id", "reference"], "order_priority": ["check", "priority"],
            "order_unpaid": ["index", "total"],
        }, kinds
        assert sum(1 for c in constraints.values() if c["foreign_key"]) == 2
    out = io.StringIO()
    call_command("inspectdb", "shop_customer", "shop_order", "shop_region", stdout=out)
    text = out.getvalue()
    for line in (
        "class ShopCustomer(models.Model):", "    id = models.BigAutoField(primary_key=True)",
        "    region = models.ForeignKey('ShopRegion', models.DO_NOTHING)",
        "    pk = models.CompositePrimaryKey('customer_id', 'number')",
        "    customer = models.ForeignKey(ShopCustomer, models.DO_NOTHING)", "    profile = models.JSONField()",
        "    code = models.CharField(primary_key=True, max_length=8)",
        "        unique_together = (('customer', 'reference'),)",
    ):
        assert line in text.splitlines(), f"{line}\n is not in\n{text}"


def migrations():
    """Down with rows in place, then all the way down."""
    migrate("shop", "0001")
    with connection.cursor() as cursor:
        names = {column.name for column in connection.introspection.get_table_description(cursor, "shop_order")}
        assert "amount" in names and "priority" not in names
        cursor.execute("SELECT count(*) FROM shop_order")
        assert cursor.fetchone()[0] == 190
    migrate("shop", "zero")
    with connection.cursor() as cursor:
        assert not {t.name for t in connection.introspection.get_table_list(cursor) if t.name.startswith("shop_")}
    migrate("auth", "zero")
    migrate("contenttypes", "zero")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_migrations")
        assert connection.introspection.get_table_list(cursor) == []


begin()
customers = rows(users())
upserts(customers)
queries(customers)
transactions(customers)
introspection()
migrations()
print("django: all done")
