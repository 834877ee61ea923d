package agent

import (
	"math/bits"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// policy is a RestartPolicy with its defaults.
type policy struct {
	mode                dhowv1.RestartMode
	attempts            uint32
	backoff, maxBackoff time.Duration
	resetAfter          time.Duration
}

func policyOf(r *dhowv1.RestartPolicy, t dhowv1.WorkloadType) policy {
	p := policy{
		mode:       dhowv1.RestartMode_RESTART_MODE_ALWAYS,
		attempts:   spec.DefaultServiceAttempts,
		backoff:    orDefault(r.GetBackoff(), spec.DefaultBackoff),
		maxBackoff: orDefault(r.GetMaxBackoff(), spec.DefaultMaxBackoff),
		resetAfter: orDefault(r.GetResetAfter(), spec.DefaultResetAfter),
	}
	if t == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		p.mode, p.attempts = dhowv1.RestartMode_RESTART_MODE_ON_FAILURE, 0
	}
	if r.GetMode() != dhowv1.RestartMode_RESTART_MODE_UNSPECIFIED {
		p.mode = r.GetMode()
	}
	if r != nil && r.Attempts != nil {
		p.attempts = r.GetAttempts()
	}
	p.maxBackoff = max(p.maxBackoff, p.backoff)
	return p
}

func orDefault(d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	return max(d.AsDuration(), 0)
}

// again tells whether a task of the role that ended is to run again.
func (p policy) again(role dhowv1.TaskRole, ok bool) bool {
	switch {
	case p.mode == dhowv1.RestartMode_RESTART_MODE_NEVER:
		return false
	case role == dhowv1.TaskRole_TASK_ROLE_INIT || p.mode == dhowv1.RestartMode_RESTART_MODE_ON_FAILURE:
		return !ok
	}
	return true
}

// wait is the back-off before the n-th restart, from 1.
func (p policy) wait(n uint32) time.Duration { return backoff(p.backoff, p.maxBackoff, n) }

// backoff doubles first n-1 times, up to most.
func backoff(first, most time.Duration, n uint32) time.Duration {
	if n == 0 || first <= 0 {
		return 0
	}
	// Doubling this often would overflow, so it is past the longest wait.
	if n-1 >= uint32(bits.LeadingZeros64(uint64(first)))-1 {
		return most
	}
	return min(first<<(n-1), most)
}
