package main

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"os"
)

// newLogger writes one JSON object a line.
func newLogger(out io.Writer, level slog.Level) *slog.Logger {
	logger := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(logger)
	log.SetFlags(0)
	log.SetOutput(strangers{logger})
	return logger
}

// strangers takes what libraries write through package log. net/http quotes what a
// platform sends on an idle connection, and a payload never reaches a log.
type strangers struct{ logger *slog.Logger }

func (s strangers) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("Unsolicited response received")) {
		s.logger.Warn("a platform sent bytes on an idle connection")
	} else {
		s.logger.Warn("library", "message", string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}

// logLevel is from RAFFSYNC_LOG: debug, info, warn or error; info where it says
// nothing that is known.
func logLevel() slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(os.Getenv("RAFFSYNC_LOG"))) != nil {
		return slog.LevelInfo
	}
	return level
}
