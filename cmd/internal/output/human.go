package output

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Age is how long ago a time was, short: 5s, 2m30s, 3h20m, 5d4h, 40d, 2y.
func Age(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return Short(now.Sub(t.AsTime()))
}

// Short writes a duration with at most two units. What would be negative,
// because clocks differ, is 0s.
func Short(d time.Duration) string {
	two := func(a time.Duration, an string, b time.Duration, bn string) string {
		if rest := d % a / b; rest > 0 {
			return fmt.Sprintf("%d%s%d%s", d/a, an, rest, bn)
		}
		return fmt.Sprintf("%d%s", d/a, an)
	}
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 10*time.Minute:
		return two(time.Minute, "m", time.Second, "s")
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 8*time.Hour:
		return two(time.Hour, "h", time.Minute, "m")
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < 8*day:
		return two(day, "d", time.Hour, "h")
	case d < 2*365*day:
		return fmt.Sprintf("%dd", d/day)
	}
	return fmt.Sprintf("%dy", d/(365*day))
}

// Elapsed writes how long something took: 4.2ms, 1.3s, 2m5s.
func Elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
