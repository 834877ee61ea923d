package logs

import (
	"bytes"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

const (
	// MaxText is the longest text of one line; more comes in pieces.
	MaxText    = 16 << 10
	timeFormat = "2006-01-02T15:04:05.000000000Z"
	// A line's most: time, stream, flag, three spaces, text, line end.
	maxLine = len(timeFormat) + 1 + 6 + 1 + 1 + 1 + MaxText + 1
)

// appendLine appends one line. The text has no line end.
func appendLine(b []byte, at time.Time, source dhowv1.LogSource, whole bool, text []byte) []byte {
	b = at.UTC().AppendFormat(b, timeFormat)
	if source == dhowv1.LogSource_LOG_SOURCE_STDERR {
		b = append(b, " stderr "...)
	} else {
		b = append(b, " stdout "...)
	}
	if whole {
		b = append(b, "F "...)
	} else {
		b = append(b, "P "...)
	}
	b = append(b, text...)
	return append(b, '\n')
}

// parseLine reads one line without its end; false when it is none, as after
// a torn write.
func parseLine(b []byte) (*dhowv1.LogLine, bool) {
	const head = len(timeFormat) + len(" stdout F ")
	if len(b) < head || b[len(timeFormat)] != ' ' {
		return nil, false
	}
	at, err := time.Parse(timeFormat, string(b[:len(timeFormat)]))
	// The time package takes more than it writes, such as a comma.
	if err != nil || at.Format(timeFormat) != string(b[:len(timeFormat)]) {
		return nil, false
	}
	l := &dhowv1.LogLine{Time: timestamppb.New(at)}
	switch string(b[len(timeFormat):head]) {
	case " stdout F ", " stdout P ":
		l.Source = dhowv1.LogSource_LOG_SOURCE_STDOUT
	case " stderr F ", " stderr P ":
		l.Source = dhowv1.LogSource_LOG_SOURCE_STDERR
	default:
		return nil, false
	}
	l.Text = bytes.Clone(b[head:])
	return l, true
}

// splitter cuts what a task writes into lines.
type splitter struct {
	source  dhowv1.LogSource
	partial []byte
}

// add appends the lines that p completes.
func (s *splitter) add(b []byte, at time.Time, p []byte) []byte {
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		piece, end := p, n >= 0
		if end {
			piece = p[:n]
		}
		if room := MaxText - len(s.partial); len(piece) > room {
			s.partial = append(s.partial, piece[:room]...)
			b = appendLine(b, at, s.source, false, s.partial)
			s.partial = s.partial[:0]
			p = p[room:]
			continue
		}
		if !end {
			s.partial = append(s.partial, piece...)
			return b
		}
		if len(s.partial) > 0 {
			piece = append(s.partial, piece...)
		}
		b = appendLine(b, at, s.source, true, piece)
		s.partial = s.partial[:0]
		p = p[n+1:]
	}
	if len(s.partial) == 0 && cap(s.partial) > 0 {
		s.partial = nil // most tasks write whole lines: hold nothing between
	}
	return b
}

// flush ends the line that has begun.
func (s *splitter) flush(b []byte, at time.Time) []byte {
	if len(s.partial) > 0 {
		b = appendLine(b, at, s.source, true, s.partial)
		s.partial = nil
	}
	return b
}
