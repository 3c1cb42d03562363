"""An application on SQLAlchemy 2 and Alembic: posts of authors."""

import decimal
import pathlib
import uuid
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import exc, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased, selectinload
from sqlalchemy.orm.exc import StaleDataError

from schema import Author, Base, Comment, Language, Mood, Post, engine

config = Config()
config.set_main_option("script_location", str(pathlib.Path(__file__).parent / "migrations"))


def objects():
    """The unit of work: keys come back, rows follow, versions are watched."""
    with Session(engine) as session, session.begin():
        session.add_all([Language(code="de", name="Deutsch"), Language(code="fi", name="Suomi")])
        session.flush()
        authors = [Author(name=f"author {i}", language="de" if i % 2 else "fi", settings={"n": i}) for i in range(12)]
        for i, author in enumerate(authors):
            author.posts = [
                Post(slug=f"p{j}", title=f"Title {j}", words=100 * j, tags=["all", f"t{j}"], fee=decimal.Decimal(j) / 4)
                for j in range(i)
            ]
        session.add_all(authors)
        session.flush()
        assert len({a.id for a in authors}) == 12
        assert all(a.joined_at is not None for a in authors)
        ids = [a.id for a in authors]
    with Session(engine) as session:
        author = session.get(Author, ids[5])
        assert author.settings == {"n": 5} and len(author.posts) == 5 and author.posts[0].fee == author.posts[0].words / decimal.Decimal(400)
        post = session.get(Post, (author.id, author.posts[0].id))
        post.comments = [Comment(body="first"), Comment(body="second")]
        post.words += 11
        session.commit()
        assert [c.body for c in post.comments] == ["first", "second"] and post.version == 2
        with Session(engine) as other, other.begin():
            other.get(Post, (post.author_id, post.id)).words = 0
        post.words = 1
        try:
            session.commit()
            raise AssertionError("a stale row was overwritten")
        except StaleDataError:
            session.rollback()
        assert post.words == 0 and post.version == 3
        session.delete(author)
        session.commit()
        assert session.scalar(select(func.count()).select_from(Post)) == sum(range(12)) - 5
        assert session.scalar(select(func.count()).select_from(Comment)) == 0
    del ids[5]
    return ids


def statements(ids):
    """Bulk inserts, upserts, and queries of several tables."""
    with Session(engine) as session, session.begin():
        rows = [{"author_id": i, "id": uuid.uuid4(), "slug": f"bulk{n}", "title": "Bulk", "words": n} for i in ids for n in range(60)]
        returned = session.scalars(sa.insert(Post).returning(Post.slug, sort_by_parameter_order=True), rows).all()
        assert returned == [row["slug"] for row in rows]
        again = insert(Post).values(rows[:40] + [{**rows[0], "id": uuid.uuid4(), "slug": "new"}])
        assert session.scalars(again.on_conflict_do_nothing().returning(Post.slug)).all() == ["new"]
        again = insert(Post).values([{**row, "id": uuid.uuid4()} for row in rows[:60]])
        again = again.on_conflict_do_update(
            index_elements=[Post.author_id, Post.slug],
            set_={"words": Post.words + again.excluded.words + 1, "title": again.excluded.title},
            where=Post.mood == Mood.CALM,
        )
        assert session.scalars(again.returning(Post.words)).all() == [2 * n + 1 for n in range(60)]
        one = insert(Post).values(rows[0]).on_conflict_do_update(constraint="uq_posts_author_id_slug", set_={"mood": "LOUD"})
        session.execute(one)
        assert session.scalar(select(Post.mood).where(Post.author_id == ids[0], Post.slug == "bulk0")) == Mood.LOUD
    with Session(engine) as session:
        per_author = (
            select(Author.name, func.count(Post.id), func.max(Post.words), func.array_agg(Post.slug.distinct()))
            .outerjoin(Author.posts).where(Post.slug.like("bulk%")).group_by(Author.id, Author.name).order_by(Author.name)
        )
        found = session.execute(per_author).all()
        assert len(found) == len(ids) and all(row[1] == 60 and len(row[3]) == 60 for row in found)
        best = (
            select(Post.author_id, Post.slug, func.row_number().over(partition_by=Post.author_id, order_by=(Post.words.desc(), Post.slug)).label("n"))
        ).subquery()
        top = session.execute(select(best.c.author_id).where(best.c.n == 1)).scalars().all()
        assert sorted(top) == sorted(ids)
        other = aliased(Post)
        pairs = select(func.count()).select_from(Post).join(other, sa.and_(other.author_id == Post.author_id, other.words == Post.words))
        assert session.scalar(pairs.where(Post.author_id == ids[1])) >= 60
        tagged = select(func.count()).select_from(Post).where(Post.tags.contains(["t3"]))
        assert session.scalar(tagged) == 12 - 4 - 1, session.scalar(tagged)
        assert session.scalar(select(Author.name).where(Author.settings["n"].as_integer() == 7)) == "author 7"
        page = select(Post).order_by(Post.slug, Post.author_id).limit(5).offset(10)
        assert len(session.scalars(page).all()) == 5
        loaded = session.scalars(select(Author).options(selectinload(Author.posts)).order_by(Author.id)).all()
        assert sum(len(a.posts) for a in loaded) == sum(range(12)) - 5 + 60 * 11 + 1
        assert session.execute(select(Language).join(Author, Author.language == Language.code).where(Author.id == ids[0])).one()
    with Session(engine) as session, session.begin():
        many = [{"author_id": p.author_id, "id": p.id, "version": p.version, "words": 7} for p in session.scalars(select(Post).where(Post.slug == "bulk5"))]
        session.execute(sa.update(Post), many)
        changed = session.execute(sa.update(Post).where(Post.words == 7, Post.slug == "bulk5").values(title=Post.title + "!").returning(Post.title))
        assert changed.scalars().all() == ["Bulk!"] * 11
        gone = session.execute(sa.delete(Post).where(Post.author_id.in_(select(Author.id).where(Author.language == "fi")), Post.slug.like("bulk%")))
        assert gone.rowcount == 60 * 6, gone.rowcount
    with engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=50).execute(select(Post.id))
        assert len({row.id for part in streamed.partitions() for row in part}) == sum(range(12)) - 5 + 60 * 5 + 1


def transactions(ids):
    """Savepoints, errors, locks."""
    with Session(engine) as session, session.begin():
        session.add(Post(author_id=ids[0], slug="kept", title="x"))
        for bad in (
            Post(author_id=ids[1], slug="negative", title="x", words=-1),
            Post(author_id=-5, slug="of nobody", title="x"),
            Author(id=ids[2], name="again"),
            Comment(author_id=ids[0], post_id=uuid.uuid4(), body="deferred"),
        ):
            try:
                with session.begin_nested():
                    session.add(bad)
                    session.flush()
                    session.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
                raise AssertionError(f"nothing refused {bad}")
            except exc.IntegrityError:
                pass
        session.add(Post(author_id=ids[1], slug="kept", title="x"))
    with Session(engine) as session, Session(engine) as other:
        assert session.scalar(select(func.count()).select_from(Post).where(Post.slug == "kept")) == 2
        session.scalars(select(Author).where(Author.id == ids[0]).with_for_update()).one()
        free = select(Author.id).where(Author.id.in_(ids[:2])).with_for_update(skip_locked=True)
        assert other.scalars(free).all() == [ids[1]]
        try:
            session.scalars(select(Author).where(Author.id == ids[1]).with_for_update(nowait=True)).one()
            raise AssertionError("a locked row was locked again")
        except exc.OperationalError as error:
            assert error.orig.sqlstate == "55P03"
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        counted = select(func.count()).select_from(Author)
        before = connection.scalar(counted)
        with engine.begin() as other:
            other.execute(sa.insert(Author).values(name="late"))
        assert connection.scalar(counted) == before


@contextmanager
def inspecting():
    """An inspector remembers OIDs, which are each node's own: it keeps to one connection."""
    with engine.connect() as connection:
        yield sa.inspect(connection)


def reflected():
    """What the inspector reads is what the models say."""
    with inspecting() as inspector:
        tables_are_as_they_should(inspector)
    with engine.connect() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        assert metadata.tables["posts"].primary_key.columns.keys() == ["author_id", "id"]
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        # The table of versions is no model's.
        differences = [d for d in compare_metadata(context, Base.metadata) if "alembic_version" not in str(d)]
        assert differences == [], differences


def tables_are_as_they_should(inspector):
    """What the inspector reads of single tables."""
    assert sorted(inspector.get_table_names()) == ["alembic_version", "authors", "comments", "languages", "posts"]
    assert inspector.get_view_names() == []
    primary = inspector.get_pk_constraint("posts")
    assert (primary["name"], primary["constrained_columns"]) == ("pk_posts", ["author_id", "id"]), primary
    unique = inspector.get_unique_constraints("posts")
    assert [u["name"] for u in unique] == ["uq_posts_author_id_slug"], unique
    assert [c["name"] for c in inspector.get_check_constraints("posts")] == ["ck_posts_words"]
    keys = {key["name"]: key for key in inspector.get_foreign_keys("comments")}
    assert keys.keys() == {"fk_comments_author_id_post_id_posts"}, keys
    key = keys["fk_comments_author_id_post_id_posts"]
    assert key["referred_table"] == "posts" and key["referred_columns"] == ["author_id", "id"], key
    assert key["options"] == {"ondelete": "CASCADE", "initially": "DEFERRED", "deferrable": True}, key
    assert {key["referred_table"] for key in inspector.get_foreign_keys("authors")} == {"languages"}
    identity = {column["name"]: column for column in inspector.get_columns("authors")}["id"]
    assert identity["identity"]["start"] == 1 and not identity["identity"]["always"] and not identity["nullable"]
    indexes = {index["name"]: index for index in inspector.get_indexes("posts")}
    assert indexes.keys() == {"ix_posts_lower_title", "ix_posts_loud", "uq_posts_author_id_slug"}, indexes
    assert indexes["ix_posts_loud"]["column_names"] == ["author_id", "words"]
    assert inspector.get_sequence_names() == ["authors_id_seq", "comment_numbers"], inspector.get_sequence_names()


def migrations():
    """Up with rows in place, and down again."""
    command.upgrade(config, "head")
    with inspecting() as inspector:
        columns = {column["name"]: column for column in inspector.get_columns("posts")}
        assert {"score", "lang", "headline"} <= columns.keys() and isinstance(columns["words"]["type"], sa.BigInteger)
        assert {index["name"] for index in inspector.get_indexes("posts")} >= {"ix_posts_score"}
        assert {key["referred_table"] for key in inspector.get_foreign_keys("posts")} == {"authors", "tongues"}
        assert inspector.get_table_comment("posts") == {"text": "what authors write"}
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM posts WHERE score IS DISTINCT FROM words")) == 0
        try:
            connection.execute(sa.text("UPDATE posts SET score = -1"))
            raise AssertionError("a check did nothing")
        except exc.IntegrityError:
            connection.rollback()
    command.downgrade(config, "0001")
    reflected()
    command.downgrade(config, "base")
    with inspecting() as inspector:
        assert inspector.get_table_names() == ["alembic_version"]


command.upgrade(config, "0001")
reflected()
ids = objects()
statements(ids)
transactions(ids)
migrations()
with engine.begin() as connection:
    connection.execute(sa.text("DROP TABLE alembic_version"))
print("sqlalchemy: all done")
