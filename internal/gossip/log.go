package gossip

import (
	"bytes"
	"log"
	"log/slog"
)

// adapter turns serf's log lines into slog records, quietly: what a member's
// coming and going makes them say is told by Run's own records.
type adapter struct{ logger *slog.Logger }

func newLogger(l *slog.Logger) *log.Logger { return log.New(&adapter{logger: l}, "", 0) }

// Write takes one line.
func (a *adapter) Write(p []byte) (int, error) {
	line, grave := bytes.TrimSpace(p), false
	if rest, ok := bytes.CutPrefix(line, []byte("[")); ok {
		if tag, text, ok := bytes.Cut(rest, []byte("] ")); ok {
			line, grave = text, string(tag) == "ERR" || string(tag) == "WARN"
		}
	}
	switch {
	case bytes.Contains(line, []byte("o installed keys could decrypt")), bytes.Contains(line, []byte("encryption is configured but remote state is not encrypted")):
		a.logger.Warn("gossip: refused a machine that uses another key, or none: it belongs to another cluster", "detail", string(line))
	case grave && !expected(line):
		a.logger.Warn("gossip: " + string(line))
	default:
		a.logger.Debug("gossip: " + string(line))
	}
	return len(p), nil
}

// expected tells whether the line only says that a member is gone or going.
func expected(line []byte) bool {
	for _, s := range []string{
		"Failed fallback TCP ping", "Failed to send UDP", "Failed to send indirect UDP ping", "Push/Pull with", "Failed to receive",
		"Failed to push local state", "Failed to join", "Shutdown without a Leave", "Refuting", "timeout waiting for leave broadcast",
		"timeout while waiting for graceful leave", "Failed to send ack", "Failed to send ping", "Failed to send gossip", "failed to receive",
	} {
		if bytes.Contains(line, []byte(s)) {
			return true
		}
	}
	return false
}
