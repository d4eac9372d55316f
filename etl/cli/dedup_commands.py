"""`dedup …`: how texts get their ids, tried out by hand and looked after in the database."""

import typer

from etl.cli.decision_commands import alias_command, decisions_command, settle_command, split_command
from etl.cli.near_command import agreement_command, near_command
from etl.cli.rehash_command import rehash_command
from etl.cli.try_command import try_command

dedup_app = typer.Typer(no_args_is_help=True, help="How texts get their ids: try it, look after stored ids.")

dedup_app.command("try", short_help="Show how texts are normalized, and which meet.")(try_command)
dedup_app.command("rehash", short_help="New ids for stored texts after a change of the rules.")(rehash_command)
dedup_app.command("alias", short_help="Say that two texts are the same problem.")(alias_command)
dedup_app.command("split", short_help="Say that an issue is another problem than the rest of its text.")(split_command)
dedup_app.command("decisions", short_help="List what people decided of texts.")(decisions_command)
dedup_app.command("settle", short_help="Say that a conflict of two answers has been looked at.")(settle_command)
dedup_app.command("near", short_help="Show issues whose long texts are nearly the same.")(near_command)
dedup_app.command("agreement", short_help="Show how well inherited answers agree with fresh ones.")(agreement_command)
