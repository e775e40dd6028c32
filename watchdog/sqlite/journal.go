package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"edgewatch/watchdog"
)

// hash is the link of one entry: sha256 over the link before it and the
// entry's JSON. The link before the first entry is all zeros.
type hash [sha256.Size]byte

func (h hash) next(body []byte) hash {
	d := sha256.New()
	d.Write(h[:])
	d.Write(body)
	return hash(d.Sum(nil))
}

// Append implements watchdog.Journal: one transaction for all entries. Once
// it began to write it does not look at ctx any more, so that a deadline
// never leaves the result in doubt.
func (s *Store) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if err := s.take(ctx); err != nil {
		return nil, fmt.Errorf("append to journal: %w", err)
	}
	defer s.give()
	if err := s.resolve(); err != nil {
		return nil, err
	}
	var out []watchdog.Entry
	err := s.write("append to journal", func(tx *sql.Tx) (err error) {
		out, err = appendTo(tx, entries)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func appendTo(tx *sql.Tx, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	ctx := context.Background()
	seq, link, err := head(ctx, tx)
	if err != nil {
		return nil, err
	}
	out := make([]watchdog.Entry, len(entries))
	for i, e := range entries {
		seq++
		e.Seq, e.At = seq, e.At.UTC()
		body, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entry: %w", err)
		}
		// What is returned is what a later Read decodes, so that a live
		// machine and a replayed one are fed the same.
		if err := json.Unmarshal(body, &out[i]); err != nil {
			return nil, fmt.Errorf("decode entry: %w", err)
		}
		link = link.next(body)
		_, err = tx.ExecContext(ctx, "INSERT INTO entry (seq, federation, body, hash) VALUES (?, ?, ?, ?)",
			int64(seq), e.Federation, string(body), link[:])
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// head returns the newest entry's seq and link, zeros for an empty journal.
func head(ctx context.Context, tx *sql.Tx) (uint64, hash, error) {
	var seq uint64
	var link []byte
	err := tx.QueryRowContext(ctx, "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1").Scan(&seq, &link)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, hash{}, nil
	}
	if err != nil {
		return 0, hash{}, err
	}
	if len(link) != sha256.Size {
		return 0, hash{}, fmt.Errorf("entry %d: %w: hash of %d bytes", seq, ErrChainBroken, len(link))
	}
	return seq, hash(link), nil
}

// LoadCursor implements watchdog.Cursors.
func (s *Store) LoadCursor(ctx context.Context, name string) ([]byte, error) {
	if err := s.certainly(ctx); err != nil {
		return nil, err
	}
	return s.reader.LoadCursor(ctx, name)
}

// SaveCursor implements watchdog.Cursors.
func (s *Store) SaveCursor(ctx context.Context, name string, data []byte) error {
	if err := s.take(ctx); err != nil {
		return fmt.Errorf("save cursor %s: %w", name, err)
	}
	defer s.give()
	if err := s.resolve(); err != nil {
		return err
	}
	return s.write("save cursor "+name, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.Background(), "INSERT INTO cursor (name, data) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data",
			name, append([]byte{}, data...))
		return err
	})
}

// Read implements watchdog.Journal.
func (s *Store) Read(ctx context.Context, federation string, after uint64, limit int) ([]watchdog.Entry, error) {
	if err := s.certainly(ctx); err != nil {
		return nil, err
	}
	return s.reader.Read(ctx, federation, after, limit)
}

// Last returns the newest n entries, oldest first, of that federation, or of
// all when federation is "".
func (s *Store) Last(ctx context.Context, federation string, n int) ([]watchdog.Entry, error) {
	if err := s.certainly(ctx); err != nil {
		return nil, err
	}
	return s.reader.Last(ctx, federation, n)
}

// Federations names all federations that have an entry, sorted.
func (s *Store) Federations(ctx context.Context) ([]string, error) {
	if err := s.certainly(ctx); err != nil {
		return nil, err
	}
	return s.reader.Federations(ctx)
}

// Verify walks the whole hash chain; see Reader.Verify.
func (s *Store) Verify(ctx context.Context) (Head, error) {
	if err := s.certainly(ctx); err != nil {
		return Head{}, err
	}
	return s.reader.Verify(ctx)
}

// certainly waits for running writes and resolves a doubtful one, so that
// what is read next is what a restart would find.
func (s *Store) certainly(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	defer s.give()
	return s.resolve()
}

// write runs one transaction. Contexts end nothing in here: with one writer
// and a busy timeout it is bounded by the disk alone.
func (s *Store) write(doing string, do func(*sql.Tx) error) (err error) {
	defer func() { s.failed = err }()
	tx, err := s.db.BeginTx(context.Background(), nil)
	if err != nil {
		return explain(s.path, doing, err)
	}
	if err := do(tx); err != nil {
		return explain(s.path, doing, errors.Join(err, rollback(tx)))
	}
	if err := tx.Commit(); err != nil {
		if certain(err) {
			return explain(s.path, doing, err)
		}
		s.unsure = true
		return fmt.Errorf("%w: %w", watchdog.ErrJournalUnsure, explain(s.path, doing, err))
	}
	return nil
}

// resolve ends the doubt that a failed commit left, if there is any.
func (s *Store) resolve() error {
	if !s.unsure {
		return nil
	}
	return s.settle(0)
}

// settle commits a write of at least that many bytes that means nothing.
// After a doubtful commit its frames take the place of that commit's in the
// write-ahead log, so that the doubtful entries are certainly not kept,
// whatever happens next.
func (s *Store) settle(room int) error {
	err := s.write("prove that it can be written", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.Background(), "UPDATE settled SET count = count + 1, room = zeroblob(?)", room)
		return err
	})
	if err == nil {
		s.unsure = false
	}
	return err
}
