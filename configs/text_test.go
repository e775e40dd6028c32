package configs

import (
	"bytes"
	"strings"
	"testing"
)

// Editors of Windows add a byte order mark and carriage returns: neither makes a
// good file bad, nor lines of problems wrong.
func TestTextOfWindows(t *testing.T) {
	example := bytes.ReplaceAll(Example(), []byte("\n"), []byte("\r\n"))
	if _, err := Parse("f.yaml", append([]byte("\xef\xbb\xbf"), example...), Options{}); err != nil {
		t.Errorf("the example as Notepad saves it: %v", err)
	}
	_, err := Parse("f.yaml", []byte("# a\r\n\r\n# b\r\n\r\nfederatoins: []\r\n"), Options{})
	if err == nil || !strings.Contains(err.Error(), "f.yaml:5:1:") {
		t.Errorf("line of a problem: %v", err)
	}
	_, err = Parse("f.yaml", []byte("\xff\xfef\x00e\x00"), Options{})
	if err == nil || !strings.Contains(err.Error(), "save it as UTF-8") {
		t.Errorf("UTF-16: %v", err)
	}
}
