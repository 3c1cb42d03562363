"""Columns, indexes and constraints come, change and go."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("posts", sa.Column("score", sa.Integer, nullable=False, server_default="0"))
    op.add_column("posts", sa.Column("lang", sa.String(8), sa.ForeignKey("languages.code"), nullable=True))
    op.alter_column("posts", "title", new_column_name="headline")
    op.alter_column("posts", "words", type_=sa.BigInteger, server_default="0")
    op.create_index("ix_posts_score", "posts", [sa.text("score DESC")])
    op.create_check_constraint("ck_posts_score", "posts", "score >= 0")
    op.create_unique_constraint("uq_comments_body", "comments", ["author_id", "post_id", "body"])
    op.alter_column("comments", "body", nullable=False, server_default="")
    op.execute("UPDATE posts SET score = words")
    op.rename_table("languages", "tongues")
    op.create_table_comment("posts", "what authors write")


def downgrade():
    op.drop_table_comment("posts")
    op.rename_table("tongues", "languages")
    op.alter_column("comments", "body", nullable=True, server_default=None)
    op.drop_constraint("uq_comments_body", "comments")
    op.drop_constraint("ck_posts_score", "posts")
    op.drop_index("ix_posts_score")
    op.alter_column("posts", "words", type_=sa.Integer, server_default=None)
    op.alter_column("posts", "headline", new_column_name="title")
    op.drop_column("posts", "lang")
    op.drop_column("posts", "score")
