package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// event tells people what happened. Its name is made from its content, so
// that one which is sent twice is one event.
func (c *Core) event(i *instance, now time.Time, kind dhowv1.EventType, reason, message string) {
	m := i.obj.GetMeta()
	c.count++
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s\x00%s", i.uid, now.UnixNano(), c.count, reason, message))
	id := hex.EncodeToString(h[:16])
	name := m.GetName()
	name = name[:min(len(name), 46)] + "-" + id[:16]
	c.addEvent(&dhowv1.Event{
		Meta:      &dhowv1.Meta{Name: name, Namespace: m.GetNamespace(), Uid: id},
		Regarding: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: m.GetNamespace(), Name: m.GetName(), Uid: i.uid},
		Type:      kind, Reason: reason, Message: message,
		Source: c.config.Node, Time: timestamppb.New(now),
	}, now)
}

// Notice makes an event of what happened to a run that goes on.
func (c *Core) Notice(now time.Time, id runtime.ID, n runtime.Notice) {
	i := c.instances[id.Instance]
	if i == nil {
		return
	}
	message := n.Message
	if len(i.tasks) > 1 {
		message = fmt.Sprintf("task %q: %s", id.Task, message)
	}
	c.event(i, now, dhowv1.EventType_EVENT_TYPE_WARNING, n.Reason, message)
}

// backOff is said once for each thing that is in the way.
func (c *Core) backOff(i *instance, now time.Time, message string) {
	if i.note != message {
		i.note = message
		c.event(i, now, dhowv1.EventType_EVENT_TYPE_WARNING, "BackOff", message)
	}
}
