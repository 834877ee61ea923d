package host

import (
	"fmt"
	"strings"
	"time"
)

// MaxMessage is how long a log message may be in bytes; longer ones are cut.
const MaxMessage = 16 << 10

// Level is how important a log message is.
type Level uint32

// Levels of messages.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// String is the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Debug:
		return "debug"
	case Warn:
		return "warn"
	case Error:
		return "error"
	case Info:
	}
	return "info"
}

func logMessage(c call) (int, error) {
	level := Level(c.u32(0))
	if level > Error {
		return 0, fmt.Errorf("%w: no level %d", ErrInvalid, level)
	}
	size := min(c.u32(2), MaxMessage)
	b, ok := c.memory.Read(c.u32(1), size)
	if !ok {
		return 0, errFaultAt(c.u32(1), size)
	}
	if c.policy.Log == nil {
		return 0, nil
	}
	pass, dropped := c.guest.logs.pass(c.policy.Now(), c.policy.MaxLogs)
	if dropped > 0 {
		c.policy.Log(Warn, fmt.Sprintf("%d messages were dropped: more than %d in a second", dropped, c.policy.MaxLogs))
	}
	if pass {
		// A character that was cut in two becomes one that says so, which is longer.
		c.policy.Log(level, cut(strings.ToValidUTF8(string(b), "\uFFFD"), MaxMessage))
	}
	return 0, nil
}

// limiter lets a number of messages through in each second.
type limiter struct {
	second  int64
	count   int
	dropped int
}

// pass tells whether one more passes, and how many did not before it.
func (l *limiter) pass(now time.Time, most int) (ok bool, dropped int) {
	if s := now.Unix(); s != l.second {
		dropped = l.dropped
		*l = limiter{second: s}
	}
	if l.count >= most {
		l.dropped++
		return false, 0
	}
	l.count++
	return true, dropped
}
