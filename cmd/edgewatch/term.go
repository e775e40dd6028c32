package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-isatty"

	"edgewatch/watchdog"
)

// style is how text for people looks: with colours or without.
type style struct{ colour bool }

// styleOf says whether f is a terminal that wants colours.
func styleOf(f *os.File) style {
	return style{isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }

// tone is what a piece of text means; colour never carries it alone.
type tone uint8

const (
	plain tone = iota
	good
	warning
	bad
	strong
	faint
)

var toneCodes = [...]string{plain: "", good: "32", warning: "33", bad: "31", strong: "1", faint: "2"}

func (s style) paint(t tone, text string) string {
	if !s.colour || t == plain || text == "" {
		return text
	}
	return "\x1b[" + toneCodes[t] + "m" + text + "\x1b[0m"
}

// cell is a piece of a table.
type cell struct {
	text string
	tone tone
}

// table prints rows in aligned columns without borders. What is in the cells
// is made printable: much of it was said by strangers.
type table struct {
	style  style
	indent string
	rows   [][]cell
}

func (t *table) header(words ...string) {
	row := make([]cell, len(words))
	for i, w := range words {
		row[i] = cell{w, faint}
	}
	t.rows = append(t.rows, row)
}

func (t *table) row(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i := range row {
			row[i].text = printable(row[i].text)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		b.WriteString(t.indent)
		for i, c := range row {
			b.WriteString(t.style.paint(c.tone, c.text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// printable shows control characters instead of obeying them: text from a
// server or a colleague must not drive the terminal.
func printable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n', r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// clock is a moment as people are told it, with the date when it is not
// today's.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// span is a duration as people are told it.
func span(d time.Duration) string { return watchdog.Span(d) }
