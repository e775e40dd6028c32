package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"slices"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"edgewatch/watchdog"
)

// ErrChainBroken means that the journal is not what edgewatch wrote: an entry
// was changed, removed or put in.
var ErrChainBroken = errors.New("the journal's hash chain is broken")

// Reader reads a journal, also while another process writes it. Its methods
// are safe for concurrent use.
type Reader struct {
	path string
	db   *sql.DB
}

// OpenReadOnly opens the store in the file at path for reading. It takes no
// lock and changes nothing; the file may be in use by a running edgewatch, which
// is another process.
func OpenReadOnly(ctx context.Context, path string) (*Reader, error) {
	path, err := canonical(path)
	if err != nil {
		return nil, err
	}
	if err := orphaned(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return nil, fmt.Errorf("state file %s: empty: nothing was written to it yet, or all of it is lost – put a backup in its place, or start edgewatch, which begins an empty journal", path)
	}
	if err := anothers(path); err != nil {
		return nil, err
	}
	return openReadOnly(ctx, path)
}

// openReadOnly is OpenReadOnly of a file that is sound, by its canonical path.
func openReadOnly(ctx context.Context, path string) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("state file: %w – it is the one that edgewatch's configuration names in state, once edgewatch has run", err)
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	r, err := openReader(ctx, path, url.Values{"mode": {"ro"}})
	if code := primary(err); (code == sqlite3.SQLITE_CANTOPEN || code == sqlite3.SQLITE_READONLY) && !exists(path+"-wal") {
		// After a clean stop the log and its index are gone, and this user
		// may not create them. Nobody writes: the file alone is everything.
		return openReader(ctx, path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	}
	return r, err
}

func openReader(ctx context.Context, path string, query url.Values) (*Reader, error) {
	query["_pragma"] = []string{"busy_timeout(" + busyTimeout + ")", "query_only(1)"}
	db, err := sql.Open("sqlite", dsn(path, query))
	if err != nil {
		return nil, explain(path, "open", err)
	}
	db.SetMaxOpenConns(4)
	version, err := inspect(ctx, db, path, len(migrations()))
	if err == nil && version != len(migrations()) {
		err = fmt.Errorf("state file %s: schema %d is older than this edgewatch – start the service once, it migrates the file", path, version)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Reader{path: path, db: db}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Close closes the file. Closing twice is fine.
func (r *Reader) Close() error { return r.db.Close() }

// Read returns up to limit entries with Seq > after, oldest first, of that
// federation, or of all when federation is "".
func (r *Reader) Read(ctx context.Context, federation string, after uint64, limit int) ([]watchdog.Entry, error) {
	if after >= math.MaxInt64 {
		return nil, nil
	}
	if federation == "" {
		return r.entries(ctx, "SELECT seq, body FROM entry WHERE seq > ? ORDER BY seq LIMIT ?", int64(after), max(0, limit))
	}
	return r.entries(ctx, "SELECT seq, body FROM entry WHERE federation = ? AND seq > ? ORDER BY seq LIMIT ?", federation, int64(after), max(0, limit))
}

// Last returns the newest n entries, oldest first, of that federation, or of
// all when federation is "".
func (r *Reader) Last(ctx context.Context, federation string, n int) ([]watchdog.Entry, error) {
	query, args := "SELECT seq, body FROM entry ORDER BY seq DESC LIMIT ?", []any{max(0, n)}
	if federation != "" {
		query, args = "SELECT seq, body FROM entry WHERE federation = ? ORDER BY seq DESC LIMIT ?", []any{federation, max(0, n)}
	}
	out, err := r.entries(ctx, query, args...)
	slices.Reverse(out)
	return out, err
}

// Federations names all federations that have an entry, sorted.
func (r *Reader) Federations(ctx context.Context) ([]string, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT DISTINCT federation FROM entry ORDER BY federation")
	if err != nil {
		return nil, explain(r.path, "read journal", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, explain(r.path, "read journal", err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(r.path, "read journal", err)
	}
	return out, nil
}

// LoadCursor returns what SaveCursor kept; nil for a name never saved.
func (r *Reader) LoadCursor(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := r.db.QueryRowContext(ctx, "SELECT data FROM cursor WHERE name = ?", name).Scan(&data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, explain(r.path, "load cursor "+name, err)
	}
	return append([]byte{}, data...), nil
}

func (r *Reader) entries(ctx context.Context, query string, args ...any) ([]watchdog.Entry, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, explain(r.path, "read journal", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var out []watchdog.Entry
	for rows.Next() {
		var seq uint64
		var body sql.RawBytes
		var e watchdog.Entry
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, explain(r.path, "read journal", err)
		}
		err := json.Unmarshal(body, &e)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("state file %s: read journal: entry %d cannot be understood: %w – keep the file for analysis and restore it, or move it away to begin an empty journal", r.path, seq, err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(r.path, "read journal", err)
	}
	return out, nil
}

// Head is the newest entry of a verified journal. Its hash vouches for
// everything before it: written down elsewhere, it also shows a journal whose
// end was cut off.
type Head struct {
	Seq  uint64    `json:"seq"`
	Hash string    `json:"hash"`        // hex; empty for an empty journal
	At   time.Time `json:"at,omitzero"` // when it was written: a copy that lags behind shows by it
}

// Verify reads every entry and recomputes the hash chain. An error that is
// ErrChainBroken names the first entry that does not fit; Head then is the
// last one that does.
func (r *Reader) Verify(ctx context.Context) (Head, error) {
	rows, err := r.db.QueryContext(ctx, "SELECT seq, federation, body, hash FROM entry ORDER BY seq")
	if err != nil {
		return Head{}, explain(r.path, "verify journal", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	var good Head
	var link hash
	for rows.Next() {
		var seq uint64
		var federation string
		var body, sum sql.RawBytes
		if err := rows.Scan(&seq, &federation, &body, &sum); err != nil {
			return good, explain(r.path, "verify journal", err)
		}
		link = link.next(body)
		at, what := misfit(good.Seq+1, seq, federation, body, sum, link)
		if what != "" {
			return good, fmt.Errorf("state file %s: %w at entry %d: %s", r.path, ErrChainBroken, good.Seq+1, what)
		}
		good = Head{Seq: seq, Hash: hex.EncodeToString(link[:]), At: at}
	}
	if err := rows.Err(); err != nil {
		return good, explain(r.path, "verify journal", err)
	}
	return good, nil
}

// misfit says what is wrong with one row, "" when nothing is, and when its entry
// was written.
func misfit(want, seq uint64, federation string, body, sum []byte, link hash) (at time.Time, what string) {
	if seq != want {
		return at, fmt.Sprintf("it is missing, entry %d follows", seq)
	}
	if string(sum) != string(link[:]) {
		return at, "its content or hash was changed"
	}
	var e watchdog.Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return at, "it is no entry: " + err.Error()
	}
	if e.Seq != seq || e.Federation != federation {
		return at, fmt.Sprintf("it is filed as entry %d of %q and says entry %d of %q", seq, federation, e.Seq, e.Federation)
	}
	return e.At, ""
}
