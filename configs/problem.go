package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	File    string
	Line    int // from 1; 0 when the problem has no place in the file
	Column  int // from 1
	Path    string
	Message string
	Warning bool // allowed, and still deserves a look
	Absent  bool // the file that it is about is not there
}

// String is the problem as "file:line:column: path: message".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Warning {
		b.WriteString(": warning")
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	return b.String() + ": " + p.Message
}

// Errors is every problem of a configuration, in the order of the file.
type Errors []Problem

// Error gives each problem a line of its own.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// position is a place in the file.
type position struct{ line, column int }

// source is the file a configuration came from: where its values stand, and
// what is wrong with them.
type source struct {
	name     string
	base     string
	at       map[string]position // by path
	problems []Problem
}

// given reports whether the file has a value at path.
func (s *source) given(path string) bool {
	_, ok := s.at[path]
	return ok
}

// bad reports that the file is wrong at path. Where something is wrong at or
// below path already, it is not said again from another angle.
func (s *source) bad(path, format string, args ...any) {
	if s.wrong(path) {
		return
	}
	s.report(false, s.find(path), path, fmt.Sprintf(format, args...))
}

// unread reports that a file which is named at path could not be read.
func (s *source) unread(path string, err error) {
	n := len(s.problems)
	s.bad(path, "%s", err)
	if len(s.problems) > n && s.problems[n].Path == path {
		s.problems[n].Absent = errors.Is(err, fs.ErrNotExist)
	}
}

// wrong reports whether an error at or below path was reported.
func (s *source) wrong(path string) bool {
	return path != "" && slices.ContainsFunc(s.problems, func(p Problem) bool {
		rest, within := strings.CutPrefix(p.Path, path)
		return !p.Warning && within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// warn reports what is allowed at path and still deserves a look.
func (s *source) warn(path, format string, args ...any) {
	s.report(true, s.find(path), path, fmt.Sprintf(format, args...))
}

// maxProblems limits how many problems are told at once: past it the file is
// hardly a configuration.
const maxProblems = 200

func (s *source) report(warning bool, p position, path, message string) {
	switch {
	case len(s.problems) == maxProblems:
		message = "there are more problems: they are told once these are mended"
		path = ""
	case len(s.problems) > maxProblems:
		return
	}
	s.problems = append(s.problems, Problem{
		File: s.name, Line: p.line, Column: p.column, Path: path, Message: message, Warning: warning,
	})
}

// find is where path stands, or the nearest thing around it that stands
// somewhere.
func (s *source) find(path string) position {
	for {
		if p, ok := s.at[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return s.at[""]
		}
		path = path[:i]
	}
}

func (s *source) errors() Errors      { return s.sorted(false) }
func (s *source) warnings() []Problem { return s.sorted(true) }

func (s *source) sorted(warning bool) []Problem {
	var out []Problem
	for _, p := range s.problems {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(out)
}

// nearest returns the word closest to s, or "" when none is close.
func nearest(s string, words []string) string {
	best, bestDistance := "", len(s)/3+2
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w)); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// didYouMean is the end of a message about an unknown word.
func didYouMean(s string, words []string) string {
	if w := nearest(s, words); w != "" {
		return fmt.Sprintf(" (did you mean %q?)", w)
	}
	return ""
}
