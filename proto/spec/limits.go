package spec

import "time"

// What Validate accepts at most. The figures keep one object within one Raft
// entry of a few MiB and sums of resources far from overflow.
const (
	MaxName          = 63      // a DNS label
	MaxWorkloadName  = 51      // leaves room for -INDEX-xxxxx in instances' names
	MaxReplicas      = 100_000 // per workload
	MaxTasks         = 16      // per template
	MaxArgs          = 1024    // per task
	MaxEnv           = 1024    // per task
	MaxPorts         = 64      // per task
	MaxConstraints   = 64      // per template
	MaxLabels        = 64      // per object and template
	MaxLabelValue    = 63      // bytes
	MaxAnnotations   = 256     // per object
	MaxText          = 64 << 10
	MaxStdin         = 1 << 20 // bytes per task
	MaxTemplateBytes = 3 << 19 // 1.5 MiB, encoded
	MaxBackoffLimit  = 10_000
	MaxAttempts      = 10_000
	MaxCPU           = 1_000_000_000 // thousandths: a million cores
	MaxMemory        = 1 << 50       // bytes: 1 PiB
	MaxDuration      = 365 * 24 * time.Hour
	MinBackoff       = time.Millisecond
	MaxMounts        = 64        // per task
	MaxWeight        = 10_000    // of CPU time
	MinStack         = 64 << 10  // bytes
	MaxStack         = 256 << 20 // bytes
	MaxTableElements = 10_000_000
	MaxFiles         = 65_536
	MinTimeout       = time.Millisecond
	MaxHosts         = 256     // in an allow-list
	MaxConfig        = 1024    // entries of config, and of secrets
	MaxInvoke        = 256     // functions
	MaxStoreBytes    = 1 << 30 // bytes of a key-value store
	MaxConcurrency   = 1000    // calls at a time, per instance
	MaxQueue         = 100_000 // calls that wait, per instance
	MaxCallBytes     = 4 << 20 // data of a call, and of its result
	MaxCallText      = 64 << 10
	MaxCallTimeout   = time.Hour
	MaxCallDepth     = 16 // functions that call functions
)

// DefaultNamespace holds what names no namespace.
const DefaultNamespace = "default"
