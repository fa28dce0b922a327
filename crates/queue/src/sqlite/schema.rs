//! The file's schema: creates it, migrates an old one step by step, and refuses one of a newer version.

use std::path::Path;

use rusqlite::Connection;

use crate::OpenError;

/// The schema that this code writes. A later one adds its step to [`prepare`]; a released step is
/// never changed.
const KNOWN: i64 = 11;

/// Opens the file and brings its schema up to date.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed =
        |error: rusqlite::Error| OpenError::Store { path: path.into(), reason: error.to_string() };
    let mut connection = Connection::open(path).map_err(failed)?;
    let found = version(&connection).map_err(failed)?;
    if found > KNOWN {
        return Err(OpenError::NewerSchema { path: path.into(), found, known: KNOWN });
    }
    prepare(&mut connection, found).map_err(failed)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn prepare(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    // WAL: a commit is one append, and after a crash the file opens as of the last commit. FULL: the
    // append is synced before the commit returns, so that an accepted task also survives a power
    // failure. Commits are grouped, so one sync serves all waiting callers.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(128);
    let steps = [
        (1, include_str!("schema.sql")),
        (2, include_str!("schema_2.sql")),
        (3, include_str!("schema_3.sql")),
        (4, include_str!("schema_4.sql")),
        (5, include_str!("schema_5.sql")),
        (6, include_str!("schema_6.sql")),
        (7, include_str!("schema_7.sql")),
        (8, include_str!("schema_8.sql")),
        (9, include_str!("schema_9.sql")),
        (10, include_str!("schema_10.sql")),
        (11, include_str!("schema_11.sql")),
    ];
    for (number, sql) in steps.into_iter().filter(|(number, _)| *number > found) {
        let step = connection.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    Ok(())
}
