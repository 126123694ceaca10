"""What stands in fields of a business's own, to be filtered by."""

import sqlalchemy as sa
from alembic import op

from moked.crm import lead_values

revision = "0017_lead_values"
down_revision = "0019_caller_id"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lead_value",
        sa.Column("lead_id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(100), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("lead_id", "field_id", name="pk_lead_value"),
        *(
            sa.ForeignKeyConstraint(
                [f"{name}_id"], [f"{table}.id"], name=f"fk_lead_value_{name}_id", ondelete="CASCADE"
            )
            for name, table in (("lead", "lead"), ("field", "lead_field"), ("business", "business"))
        ),
    )
    op.create_index("ix_lead_value_field_id_text_lead_id", "lead_value", ["field_id", "text", "lead_id"])
    op.create_index("ix_lead_value_field_id_number_lead_id", "lead_value", ["field_id", "number", "lead_id"])
    for business_id in op.get_bind().scalars(sa.text("SELECT DISTINCT business_id FROM lead_field")).all():
        lead_values.fill(op.get_bind(), business_id)


def downgrade() -> None:
    op.drop_table("lead_value")
