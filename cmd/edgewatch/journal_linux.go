package main

import (
	"fmt"
	"os"
	"syscall"
)

// toJournal reports whether f is the stream to journald that systemd gave
// this process, and not something that it was redirected to since.
func toJournal(f *os.File) bool {
	want := os.Getenv("JOURNAL_STREAM")
	if want == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && want == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
