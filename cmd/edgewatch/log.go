package main

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/configs"
)

// logTime is RFC 3339 with milliseconds; times are UTC.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// newLogger writes to f as the configuration says. Lines never mix, whichever
// goroutines write them.
func newLogger(f *os.File, c configs.Log) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil || c.Level == "" {
		level = zerolog.InfoLevel
	}
	terminal := isTerminal(f)
	var w io.Writer = f
	switch {
	case c.Format == "console", c.Format != "json" && terminal:
		w = zerolog.ConsoleWriter{Out: f, NoColor: !styleOf(f).colour, FormatTimestamp: consoleTime}
	case toJournal(f):
		w = journalWriter{f}
	}
	return zerolog.New(zerolog.SyncWriter(w)).Level(level).Hook(timestamp{})
}

// timestamp stamps every line. zerolog's own timestamp is formatted by
// variables of the package, which belong to nobody.
type timestamp struct{}

// Run implements zerolog.Hook.
func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(logTime))
}

// consoleTime shortens a timestamp for people who watch.
func consoleTime(v any) string {
	text, _ := v.(string)
	at, err := time.Parse(logTime, text)
	if err != nil {
		return text
	}
	return at.Format("15:04:05.000")
}

// journalWriter puts the severity before each line as journald reads it
// (sd-daemon(3)), so that journalctl -p works.
type journalWriter struct{ w io.Writer }

// Write implements io.Writer.
func (j journalWriter) Write(p []byte) (int, error) { return j.WriteLevel(zerolog.NoLevel, p) }

// WriteLevel implements zerolog.LevelWriter.
func (j journalWriter) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	line := append([]byte(severity(level)), p...)
	if _, err := j.w.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

func severity(level zerolog.Level) string {
	switch level {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return "<7>"
	case zerolog.WarnLevel:
		return "<4>"
	case zerolog.ErrorLevel:
		return "<3>"
	case zerolog.FatalLevel, zerolog.PanicLevel:
		return "<2>"
	case zerolog.InfoLevel, zerolog.NoLevel, zerolog.Disabled:
	}
	return "<6>"
}
