package plan

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan/heal"
	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// backingOff begins the reason of what waits before it is tried again.
const backingOff = "waits"

// newborn is all of the change that makes an instance, in one allocation.
type newborn struct {
	change dhowv1.Change
	op     dhowv1.Change_Put
	expect dhowv1.Expect
	object dhowv1.Object
	kind   dhowv1.Object_Instance
	inst   dhowv1.Instance
	meta   dhowv1.Meta
	spec   dhowv1.InstanceSpec
}

// Create makes an instance, placed if it can be.
func (p *pass) Create(b heal.Birth) {
	g := b.Slot.Group
	p.turn(g)
	sh := p.shape
	n := &newborn{}
	n.change.Op, n.change.Expect = &n.op, &n.expect
	n.expect.Absent = true
	n.op.Put = &n.object
	n.object.Kind = &n.kind
	n.kind.Instance = &n.inst
	n.inst.Meta, n.inst.Spec, n.inst.Status = &n.meta, &n.spec, p.pending

	sp := &n.spec
	sp.Workload, sp.WorkloadUid = g.Name, g.UID
	sp.Index, sp.Revision, sp.Attempt, sp.Failures = b.Slot.Index, b.Revision, b.Attempt, b.Failures
	sp.Requests, sp.HostPorts = sh.Requests, sh.Demand.Ports
	sp.Desired = dhowv1.Desired_DESIRED_RUN
	waits := !b.NotBefore.IsZero()
	t := p.tales.of(g)
	var at *schedule.Node
	switch {
	case waits:
		sp.NotBefore = timestamppb.New(b.NotBefore)
		sp.PendingReason = fmt.Sprintf("%s after %d %s", backingOff, b.Failures, plural(int(b.Failures), "failure"))
	default:
		if at, _ = p.batch.Place(b.Avoid); at != nil {
			sp.Node = at.Name()
			t.placed++
		} else {
			sp.PendingReason = p.s.cluster.Summary(sh)
			t.unplaced++
		}
	}
	t.born(b)

	m := &n.meta
	m.Namespace = g.Namespace
	k := p.name(g, b)
	m.Name = k.name
	m.Uid = uid(p.uidBase, uint64(b.Slot.Index), uint64(b.Attempt))
	m.CreatedAt = p.stamp
	m.Labels = p.labels
	p.change(&n.change)
	p.s.add(k, g, &n.inst, at)
	switch {
	case waits:
		p.WakeAt(b.Slot, b.NotBefore)
	case at == nil:
		b.Slot.Wait()
		p.block(g)
	}
}

// name is WORKLOAD-INDEX-xxxxx. The same instance gets the same name however
// often it is planned, so that making it twice is refused.
func (p *pass) name(g *heal.Group, b heal.Birth) key {
	for salt := uint64(0); ; salt++ {
		h := mix(p.nameBase+salt, uint64(b.Slot.Index), uint64(b.Attempt))
		buf := make([]byte, 0, spec.MaxName)
		buf = append(buf, g.Name[:min(len(g.Name), spec.MaxWorkloadName)]...)
		buf = append(buf, '-')
		buf = strconv.AppendUint(buf, uint64(b.Slot.Index), 10)
		buf = append(buf, '-')
		buf = letters(buf, h, 5)
		if k := (key{g.Namespace, string(buf)}); p.s.instances[k] == nil {
			return k
		}
	}
}

// uid is 128 bits that depend on all that is given. h comes from the seed,
// which differs from plan to plan, so that no uid comes again.
func uid(h, a, b uint64) string {
	var buf [26]byte
	out := letters(buf[:0], mix(h, a, b), 13)
	out = letters(out, mix(h^0x9e3779b97f4a7c15, b, a), 13)
	return string(out)
}

// letters writes n times 5 bits in digits and letters, nearly without vowels,
// so that no words appear.
func letters(buf []byte, h uint64, n int) []byte {
	const alphabet = "abcdfghjklmnpqrstvwxyz0123456789"
	for range n {
		buf = append(buf, alphabet[h&31])
		h >>= 5
	}
	return buf
}

// hash is FNV-1a, 64 bits, finished with mix.
func hash(seed uint64, s string) uint64 {
	h := uint64(14695981039346656037) ^ seed*0x9e3779b97f4a7c15
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, 0, 0)
}

// mix spreads three numbers over 64 bits (the finisher of splitmix64).
func mix(h, a, b uint64) uint64 {
	for _, v := range [...]uint64{a, b} {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
