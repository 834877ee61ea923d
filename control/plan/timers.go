package plan

import (
	"time"

	"dhow.dev/dhow/control/plan/heal"
)

// timer has a slot, a node or the events looked at.
type timer struct {
	at   time.Time
	slot *heal.Slot
	node string
}

// Before orders the earlier one first.
func (t timer) Before(o timer) bool { return t.at.Before(o.at) }

// due fires the timers that are.
func (s *State) due(now time.Time) {
	for len(s.timers) > 0 && !s.timers[0].at.After(now) {
		t := s.timers.Pop()
		if t.slot == nil {
			if s.nodes[t.node] != nil {
				s.judged[t.node] = true
			}
			continue
		}
		if g := t.slot.Group; t.slot.Wake.Equal(t.at) && s.groups[g.UID] == g {
			t.slot.Wake = time.Time{}
			t.slot.Group.Touch(t.slot)
			s.queue(t.slot.Group)
		}
	}
}
