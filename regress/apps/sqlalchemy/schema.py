"""What the application keeps: posts of authors, and their comments."""

import datetime
import decimal
import enum
import uuid

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

# No statement waits for long; sequences are to be on every node, which elsewhere says nothing.
OPTIONS = "-c statement_timeout=30s -c shardman.broadcast_ddl=on"
# Each connection is made by libpq, from PGHOST and PGPORT.
engine = sa.create_engine(
    "postgresql+psycopg://", poolclass=NullPool, connect_args={"options": OPTIONS}
)

with engine.connect() as connection:
    IS_CLUSTER = connection.scalar(sa.text("SELECT to_regnamespace('shardman') IS NOT NULL"))


def placed(options):
    """Arguments for a table that says how shardman is to place it."""
    return {"info": {"placed": options}}


@compiles(CreateTable, "postgresql")
def create_table(element, compiler, **kw):
    """CREATE TABLE … WITH (…), where shardman is."""
    options = element.element.info.get("placed")
    text = compiler.visit_create_table(element, **kw)
    return f"{text.rstrip()} WITH ({options})" if options and IS_CLUSTER else text


class Base(DeclarativeBase):
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Language(Base):
    __tablename__ = "languages"
    __table_args__ = placed("replicated")
    code: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    name: Mapped[str]


class Author(Base):
    __tablename__ = "authors"
    __table_args__ = placed("distributed_by = 'id', num_parts = 6")
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(80), index=True)
    language: Mapped[str | None] = mapped_column(sa.ForeignKey("languages.code"))
    settings: Mapped[dict] = mapped_column(pg.JSONB, default=dict)
    joined_at: Mapped[datetime.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    posts: Mapped[list["Post"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Mood(enum.Enum):
    CALM = "calm"
    LOUD = "loud"


class Post(Base):
    __tablename__ = "posts"
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    slug: Mapped[str]
    title: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.Text), server_default="{}")
    mood: Mapped[Mood] = mapped_column(sa.Enum(Mood, native_enum=False, length=8), default=Mood.CALM)
    fee: Mapped[decimal.Decimal] = mapped_column(sa.Numeric(12, 2), default=0)
    words: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    author: Mapped[Author] = relationship(back_populates="posts")
    comments: Mapped[list["Comment"]] = relationship(back_populates="post", order_by="Comment.number", passive_deletes="all")
    __mapper_args__ = {"version_id_col": version}
    __table_args__ = (
        sa.UniqueConstraint("author_id", "slug"),
        sa.CheckConstraint("words >= 0", name="ck_posts_words"),
        sa.Index("ix_posts_lower_title", sa.text("lower(title)")),
        sa.Index("ix_posts_loud", "author_id", "words", postgresql_where=sa.text("mood = 'LOUD'")),
        placed("distributed_by = 'author_id', colocate_with = 'authors'"),
    )


class Comment(Base):
    __tablename__ = "comments"
    author_id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    post_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.Integer, sa.Sequence("comment_numbers"), primary_key=True)
    body: Mapped[str | None]
    post: Mapped[Post] = relationship(back_populates="comments")
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["author_id", "post_id"], ["posts.author_id", "posts.id"], ondelete="CASCADE", deferrable=True,
            initially="DEFERRED",
        ),
        placed("distributed_by = 'author_id', colocate_with = 'authors'"),
    )
