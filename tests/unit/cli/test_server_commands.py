"""Tests of the commands of the local servers and of the database."""

from psycopg.conninfo import conninfo_to_dict

from etl.cli.server_commands import psql_address


def test_psql_finds_the_socket_in_a_folder_with_a_space_or_a_plus() -> None:
    for folder in ("/home/a person/.local", "/home/c++/data"):
        escaped = folder.replace(" ", "%20").replace("+", "%2B")
        address, password = psql_address(f"postgresql://postgres@/postgres?host={escaped}&port=5432")
        assert conninfo_to_dict(address) == {"user": "postgres", "dbname": "postgres", "host": folder, "port": "5432"}
        assert password is None


def test_psql_gets_the_options_of_an_address_and_the_password_apart() -> None:
    address, password = psql_address("postgres://me:a%2Fb%20c@db.example.com/issues?options=-c%20search_path%3Dx")
    assert conninfo_to_dict(address)["options"] == "-c search_path=x"
    assert "password" not in conninfo_to_dict(address)
    assert password == "a/b c"


def test_a_password_among_the_options_is_not_on_the_command_line_either() -> None:
    address, password = psql_address("postgresql://db.example.com/issues?user=me&password=secret")
    assert "secret" not in address
    assert password == "secret"


def test_psql_is_told_of_a_space_in_a_name() -> None:
    address, password = psql_address("postgresql://a%20person:secret@db.example.com/issue%20tide")
    assert conninfo_to_dict(address) == {"user": "a person", "dbname": "issue tide", "host": "db.example.com"}
    assert password == "secret"
