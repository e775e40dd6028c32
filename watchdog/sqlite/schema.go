package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// applicationID marks a SQLite file as edgewatch's ("edgw").
const applicationID = 0x65646777

// migrations are the steps from an empty file to the newest schema: schema
// version n is what the first n of them made. Steps are never changed, only
// added.
func migrations() []string {
	return []string{`
CREATE TABLE entry (
	seq        INTEGER PRIMARY KEY,
	federation TEXT NOT NULL,
	body       TEXT NOT NULL, -- the entry as JSON, as it was hashed
	hash       BLOB NOT NULL CHECK (length(hash) = 32) -- sha256(hash of seq-1, body)
) STRICT;
CREATE INDEX entry_federation ON entry (federation, seq);
CREATE TRIGGER entry_insert BEFORE INSERT ON entry
	WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entry)
	BEGIN SELECT RAISE(ABORT, 'the journal is append-only: seq out of order'); END;
CREATE TRIGGER entry_update BEFORE UPDATE ON entry
	BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entry_delete BEFORE DELETE ON entry
	BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TABLE cursor (
	name TEXT PRIMARY KEY,
	data BLOB NOT NULL
) STRICT;
CREATE TABLE settled (
	id    INTEGER PRIMARY KEY CHECK (id = 1),
	count INTEGER NOT NULL, -- grows with every write that only proves that writing works
	room  BLOB NOT NULL     -- as large as what was to be proven
) STRICT;
INSERT INTO settled VALUES (1, 0, x'');
`, `
CREATE TABLE rounds (
	id         INTEGER PRIMARY KEY,
	federation TEXT NOT NULL,
	first      INTEGER NOT NULL, -- when its first round was started, in ms since 1970
	last       INTEGER NOT NULL, -- likewise its last
	rounds     INTEGER NOT NULL,
	body       BLOB NOT NULL     -- the rounds, run-length encoded
) STRICT;
CREATE INDEX rounds_federation ON rounds (federation);
CREATE INDEX rounds_last ON rounds (last);
`}
}

// prepare makes sure that db is a sound edgewatch file of the newest schema,
// in WAL mode. A file that is not edgewatch's is left as it was found.
func prepare(ctx context.Context, db *sql.DB, path string, steps []string) error {
	version, err := inspect(ctx, db, path, len(steps))
	if err != nil {
		return err
	}
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return explain(path, "switch to write-ahead log", err)
	}
	if mode != "wal" {
		return fmt.Errorf("state file %s: this file system allows no write-ahead log (journal mode stays %q) – put the file on a local disk", path, mode)
	}
	for ; version < len(steps); version++ {
		if err := migrate(ctx, db, version+1, steps[version]); err != nil {
			return explain(path, fmt.Sprintf("migrate to schema %d", version+1), err)
		}
	}
	return nil
}

// inspect reads what db is, changing nothing, and returns its schema version:
// 0 for an empty file.
func inspect(ctx context.Context, db *sql.DB, path string, newest int) (int, error) {
	var id, version, objects int
	for query, into := range map[string]*int{
		"PRAGMA application_id":              &id,
		"PRAGMA user_version":                &version,
		"SELECT count(*) FROM sqlite_schema": &objects,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(into); err != nil {
			return 0, explain(path, "read", err)
		}
	}
	switch {
	case id == 0 && version == 0 && objects == 0:
		return 0, nil
	case id != applicationID:
		return 0, fmt.Errorf("state file %s: this SQLite file belongs to another program; nothing was changed – name another file in the configuration", path)
	case version > newest:
		return 0, fmt.Errorf("state file %s: schema %d was written by a newer edgewatch, this one knows up to %d; nothing was changed – install that newer edgewatch", path, version, newest)
	}
	var report string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&report); err != nil {
		return 0, explain(path, "check", err)
	}
	if report != "ok" {
		return 0, fmt.Errorf("state file %s: damaged: %s; nothing was changed – keep the file for analysis and restore it, or move it away to begin an empty journal", path, strings.Join(strings.Fields(report), " "))
	}
	return version, nil
}

// migrate takes one step in one transaction: a crash leaves the old schema or
// the new one.
func migrate(ctx context.Context, db *sql.DB, to int, step string) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rollback(tx))
		}
	}()
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, to)
	if _, err := tx.ExecContext(ctx, step+marks); err != nil {
		return err
	}
	return tx.Commit()
}

// rollback undoes tx, unless it has ended already.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}
