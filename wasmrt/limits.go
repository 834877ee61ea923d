package wasmrt

import "time"

// Limits bound what one guest may use. The zero value means the defaults.
type Limits struct {
	// Memory is in bytes, rounded down to pages of 64 KiB. 0 leaves the
	// module's own maximum, at most 4 GiB.
	Memory uint64
	// CPU is in thousandths of a core. 0: no limit.
	CPU uint32
	// Weight is the guest's share among those that want the CPU, from 1 to
	// 10000. Default 100.
	Weight uint32
	// Fuel is what the guest may use in its life. 0: no limit. With
	// meter.Exact it is exact: the same module and input end at the same
	// instruction on every machine.
	Fuel uint64
	// Timeout of a run, or of each call. 0: none.
	Timeout time.Duration
	// Stack bounds the depth of calls, in bytes, by an estimate of what each
	// function takes. Default 16 MiB.
	Stack uint64
	// Tables bounds the elements of all tables. Default 1 Mi.
	Tables uint32
	// Files bounds the files open at a time. Default 256.
	Files uint32
}

const (
	defaultWeight = 100
	maxWeight     = 10000
	defaultStack  = 16 << 20
	defaultTables = 1 << 20
	defaultFiles  = 256
)

func (l *Limits) setDefaults() {
	if l.Weight == 0 {
		l.Weight = defaultWeight
	}
	l.Weight = min(l.Weight, maxWeight)
	if l.Stack == 0 {
		l.Stack = defaultStack
	}
	if l.Tables == 0 {
		l.Tables = defaultTables
	}
	if l.Files == 0 {
		l.Files = defaultFiles
	}
}

// Notice is something that a guest's owner should know, while it goes on.
type Notice struct {
	Reason  string // one of the Notice constants
	Message string // for people
}

// Reasons of a Notice.
const (
	NoticeMemoryLimit  = "MemoryLimit"  // more memory was refused
	NoticeTableLimit   = "TableLimit"   // a larger table was refused
	NoticeFileLimit    = "FileLimit"    // one more open file was refused
	NoticeCPUThrottled = "CPUThrottled" // it has waited more than a second because of its CPU limit
)

// Usage is what a guest has used since it was made.
type Usage struct {
	// CPU is the time it computed, without waiting for the CPU or anything
	// else.
	CPU time.Duration
	// Fuel is in the meter's units; while the guest runs, as of its last slice.
	Fuel uint64
	// Memory and PeakMemory are the size of its memory in bytes. Pages that it
	// never touched are counted and cost nothing.
	Memory, PeakMemory uint64
	// Throttled is the time it had to wait because of its CPU limit.
	Throttled time.Duration
	Calls     uint64 // from outside; a run is one
}
