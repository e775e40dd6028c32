package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes all that the store in the file at from holds, as of one moment,
// to a new file at to, with mode 0600. The store may be in use, and is not kept
// from being written meanwhile. The new file needs no other beside it; on return
// it is durable and verified. A file that exists is left alone: the error is
// fs.ErrExist then. After any other error there is no new file.
func Backup(ctx context.Context, from, to string) (Head, error) {
	if _, err := os.Stat(filepath.Dir(to)); err != nil {
		return Head{}, fmt.Errorf("no backup was made: %w – create the folder", err)
	}
	to, err := canonical(to)
	if err != nil {
		return Head{}, err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Head{}, fmt.Errorf("no backup was made: %s: %w, and is not overwritten – name a new one", to, fs.ErrExist)
	}
	if err != nil {
		return Head{}, fmt.Errorf("create backup: %w – check owner and permissions of the folder", err)
	}
	err = errors.Join(copyTo(ctx, from, to), f.Sync(), f.Close(), syncFolder(filepath.Dir(to)))
	var head Head
	if err == nil {
		head, err = VerifyFile(ctx, to)
	}
	if err != nil {
		return Head{}, fmt.Errorf("no backup was made: %w", errors.Join(err, os.Remove(to)))
	}
	return head, nil
}

// VerifyFile is Verify of the store in the file at path, which may be in use.
func VerifyFile(ctx context.Context, path string) (_ Head, err error) {
	r, err := OpenReadOnly(ctx, path)
	if err != nil {
		return Head{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Verify(ctx)
}

// copyTo writes all that the store in the file at from holds into the empty file
// at to.
func copyTo(ctx context.Context, from, to string) (err error) {
	r, err := OpenReadOnly(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return explain(r.path, "copy", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// The store's own file was opened read-only and stays so.
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only(0)"); err != nil {
		return explain(r.path, "copy", err)
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return explain(r.path, "copy to "+to, err)
	}
	return nil
}
