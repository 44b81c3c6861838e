//! The effects file: exactly one statement that writes, whatever comments and quotes hide.

use std::io::Write as _;

use millrace::ledger::effects::{Effects, EffectsError};

fn load(text: &str) -> Result<Effects, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Effects::load(file.path()).map_err(|error| {
        let name = file.path().display().to_string();
        error.to_string().strip_prefix(&name).expect("the message begins with the file").to_owned()
    })
}

#[test]
fn one_statement_that_writes_is_taken_and_its_semicolon_is_not() {
    for (text, sql) in [
        ("INSERT INTO a SELECT 1", "INSERT INTO a SELECT 1"),
        ("-- stock\nupdate a set b = 1;\n-- done\n", "-- stock\nupdate a set b = 1"),
        ("Delete from a; ; ", "Delete from a"),
        (
            "MERGE INTO a USING b ON true WHEN MATCHED THEN DO NOTHING -- end",
            "MERGE INTO a USING b ON true WHEN MATCHED THEN DO NOTHING -- end",
        ),
        ("\u{feff}DELETE FROM a", "DELETE FROM a"),
    ] {
        assert_eq!(load(text).as_ref().map(Effects::sql), Ok(sql), "{text}");
    }
}

#[test]
fn a_with_clause_is_walked_to_the_word_behind_it() {
    for text in [
        "WITH s AS (SELECT 1) INSERT INTO a SELECT * FROM s",
        "with recursive s(x, y) as not materialized (select 1, 2), t as materialized (delete from q returning 1) update a set b = 1",
        // Words that are no keywords in PostgreSQL may be names.
        "WITH update AS (SELECT 1), \"select\" AS (SELECT ')') DELETE FROM a",
        "WITH RECURSIVE s AS (SELECT 1) SEARCH DEPTH FIRST BY x, y SET o MERGE INTO a USING s ON true WHEN MATCHED THEN DELETE",
    ] {
        assert_eq!(load(text).as_ref().map(Effects::sql), Ok(text));
    }
    assert!(load("WITH insert AS (SELECT 1) SELECT * FROM insert").unwrap_err().starts_with(":1: `SELECT` is not one"));
    assert!(load("WITH s AS (INSERT INTO a VALUES (1) RETURNING 1)\nTABLE s").unwrap_err().starts_with(":2: `TABLE`"));
}

#[test]
fn semicolons_in_comments_and_quotes_end_nothing() {
    for text in [
        "INSERT INTO a VALUES ('x;''; DROP TABLE a; --')",
        "INSERT INTO \"a;b\" VALUES (1) /* ; /* ; */ ; */",
        "INSERT INTO `a;b` VALUES (1)",
        r"INSERT INTO a VALUES (E'it\'s; ''\\')",
        "INSERT INTO a VALUES ($$;'$$, $t$ $$ ; $t$)",
        "INSERT INTO a VALUES ('\\') -- ;",
    ] {
        assert_eq!(load(text).as_ref().map(Effects::sql), Ok(text));
    }
    // `a$b$` is a name and `$1` a parameter: neither hides the second statement.
    assert_eq!(
        load("DELETE FROM a$b$;\nSELECT b$b$").unwrap_err(),
        ":2: a second statement (the first one ends on line 1)"
    );
    assert_eq!(
        load("DELETE FROM a WHERE x = $1;\nSELECT $1").unwrap_err(),
        ":2: a second statement (the first one ends on line 1)"
    );
}

#[test]
fn what_is_not_one_statement_that_writes_is_refused_with_its_line() {
    for (text, problem) in [
        ("", ":1: no statement"),
        ("-- nothing\n ; ;", ":1: no statement"),
        ("\nSELECT 1", ":2: `SELECT` is not one INSERT, UPDATE, DELETE or MERGE (WITH may stand before it)"),
        (
            "EXPLAIN DELETE FROM a",
            ":1: `EXPLAIN` is not one INSERT, UPDATE, DELETE or MERGE (WITH may stand before it)",
        ),
        ("WITH s AS (SELECT 1)", ":1: `WITH` is not one INSERT, UPDATE, DELETE or MERGE (WITH may stand before it)"),
        ("DELETE FROM a;\n\nDELETE FROM b", ":3: a second statement (the first one ends on line 1)"),
        ("DELETE FROM a\nWHERE b = 'x", ":2: a quote that does not end"),
        ("DELETE FROM a\n\n/* /* */", ":3: a comment that does not end"),
        ("DELETE FROM a WHERE b = $x$ $y$", ":1: a dollar quote that does not end"),
        ("DELETE FROM a\nWHERE (b = 1", ":2: `(` without `)`"),
        ("DELETE FROM a\nWHERE b = 1)", ":2: `)` without `(`"),
        ("DELETE FROM a WHERE (b = 1;)", ":1: `;` between parentheses"),
        ("(DELETE FROM a)", ":1: the statement does not begin with a word"),
    ] {
        assert_eq!(load(text).unwrap_err(), problem, "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sql");
    let error = Effects::load(&path).unwrap_err();
    assert!(matches!(error, EffectsError::Unreadable { .. }));
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    std::fs::write(&path, b"DELETE FROM a WHERE b = '\xff'").unwrap();
    assert!(Effects::load(&path).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn places_count_characters_not_bytes() {
    let effects = load("-- ä\nDELETE FROM\n  a").unwrap();
    assert_eq!(effects.place(0), (1, 1));
    assert_eq!(effects.place(3), (1, 4));
    assert_eq!(effects.place(5), (2, 1));
    assert_eq!(effects.place(effects.sql().chars().count() - 1), (3, 3));
}
