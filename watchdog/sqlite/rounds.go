package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"edgewatch/watchdog"
)

// moveEvery is after how many writes of rounds the write-ahead log is moved
// into the file.
const moveEvery = 64

// openRounds opens the connections that write rounds. Their commits wait for
// no fsync, save one when the write-ahead log begins anew: the journal, which
// has its turn after them, must not wait for the disk because of rounds. What
// they wrote becomes durable with the journal's next write or when the log is
// moved into the file, which is done beside the journal's writes.
func (s *Store) openRounds() error {
	db, err := sql.Open("sqlite", dsn(s.path, url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(" + busyTimeout + ")", "synchronous(NORMAL)", "wal_autocheckpoint(0)"},
	}))
	if err != nil {
		return explain(s.path, "open", err)
	}
	db.SetMaxOpenConns(2) // one writes, one moves the log
	db.SetMaxIdleConns(1)
	s.rounds = db
	return nil
}

// SaveRounds implements watchdog.RoundLog.
func (s *Store) SaveRounds(ctx context.Context, id int64, seg watchdog.Segment) (int64, error) {
	err := s.writeRounds(ctx, "record rounds", func(tx *sql.Tx) error {
		if id > 0 {
			done, err := affected(tx.ExecContext(context.Background(), "UPDATE rounds SET federation = ?, first = ?, last = ?, rounds = ?, body = ? WHERE id = ?",
				seg.Federation, seg.First.UnixMilli(), seg.Last.UnixMilli(), seg.Rounds, seg.Body, id))
			if err != nil || done > 0 {
				return err
			}
		}
		res, err := tx.ExecContext(context.Background(), "INSERT INTO rounds (federation, first, last, rounds, body) VALUES (?, ?, ?, ?, ?)",
			seg.Federation, seg.First.UnixMilli(), seg.Last.UnixMilli(), seg.Rounds, seg.Body)
		if err != nil {
			return err
		}
		id, err = res.LastInsertId()
		return err
	})
	if err != nil {
		return 0, err
	}
	if s.saved.Add(1)%moveEvery == 0 {
		_ = s.move(ctx) // they are saved; PruneRounds, which tries it too, tells
	}
	return id, nil
}

// PruneRounds implements watchdog.RoundLog.
func (s *Store) PruneRounds(ctx context.Context, before time.Time, limit int) (int, error) {
	n := 0
	err := s.writeRounds(ctx, "remove old rounds", func(tx *sql.Tx) (err error) {
		n, err = affected(tx.ExecContext(context.Background(), "DELETE FROM rounds WHERE id IN (SELECT id FROM rounds WHERE last < ? ORDER BY last LIMIT ?)",
			before.UnixMilli(), max(0, limit)))
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, s.move(ctx)
}

func affected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// writeRounds runs one transaction between those of the journal. Its failure
// says nothing about the journal: neither Ready nor a doubt follow from it.
func (s *Store) writeRounds(ctx context.Context, doing string, do func(*sql.Tx) error) error {
	if err := s.take(ctx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer s.give()
	if err := s.resolve(); err != nil { // the journal's doubt must not be written over by accident
		return err
	}
	// Like the journal's writes, this one is bounded by the disk alone.
	tx, err := s.rounds.BeginTx(context.Background(), nil)
	if err != nil {
		return explain(s.path, doing, err)
	}
	if err := do(tx); err != nil {
		return explain(s.path, doing, errors.Join(err, rollback(tx)))
	}
	if err := tx.Commit(); err != nil {
		return explain(s.path, doing, err)
	}
	return nil
}

// move moves the write-ahead log into the file, beside whoever writes: the
// log must not grow for ever while the journal is quiet.
func (s *Store) move(ctx context.Context) error {
	if !s.moving.CompareAndSwap(false, true) {
		return nil
	}
	defer s.moving.Store(false)
	if _, err := s.rounds.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return explain(s.path, "move the write-ahead log into the file", err)
	}
	return nil
}

// LoadRounds implements watchdog.RoundLog.
func (s *Store) LoadRounds(ctx context.Context, federation string, since time.Time, after int64, limit int) ([]watchdog.Segment, int64, error) {
	return s.reader.LoadRounds(ctx, federation, since, after, limit)
}

// LoadRounds is that of watchdog.RoundLog.
func (r *Reader) LoadRounds(ctx context.Context, federation string, since time.Time, after int64, limit int) ([]watchdog.Segment, int64, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT id, first, last, rounds, body FROM rounds WHERE federation = ? AND id > ? AND last >= ? ORDER BY id LIMIT ?",
		federation, after, since.UnixMilli(), max(0, limit))
	if err != nil {
		return nil, after, explain(r.path, "read recorded rounds", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var out []watchdog.Segment
	for rows.Next() {
		seg := watchdog.Segment{Federation: federation}
		var first, last int64
		if err := rows.Scan(&after, &first, &last, &seg.Rounds, &seg.Body); err != nil {
			return nil, after, explain(r.path, "read recorded rounds", err)
		}
		seg.First, seg.Last = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		out = append(out, seg)
	}
	if err := rows.Err(); err != nil {
		return nil, after, explain(r.path, "read recorded rounds", err)
	}
	return out, after, nil
}

// Recorded returns the federations that rounds were recorded of, in the order
// of their names.
func (r *Reader) Recorded(ctx context.Context) ([]string, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT DISTINCT federation FROM rounds ORDER BY federation")
	if err != nil {
		return nil, explain(r.path, "read recorded rounds", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, explain(r.path, "read recorded rounds", err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(r.path, "read recorded rounds", err)
	}
	return out, nil
}
