package node

import (
	"maps"
	"net"
	goruntime "runtime"
	"slices"

	"dhow.dev/dhow/internal/version"
	"dhow.dev/dhow/node/machine"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// info is what the node says of itself.
func (n *Node) info(servers []string) *dhowv1.NodeInfo {
	c := &n.config
	capacity := machine.Capacity("/")
	if cpu := c.Capacity.GetCpu(); cpu > 0 {
		capacity.Cpu = cpu
	}
	if memory := c.Capacity.GetMemory(); memory > 0 {
		capacity.Memory = memory
	}
	if n.address == "" {
		n.address = c.Address
		if n.address == "" {
			n.address = addressTowards(servers)
		}
	}
	info := &dhowv1.NodeInfo{
		Version: version.String(), Os: goruntime.GOOS, Arch: goruntime.GOARCH,
		Zone: c.Zone, Address: n.address, Gossip: !c.NoGossip, Labels: maps.Clone(c.Labels),
		Capacity: capacity,
		Allocatable: &dhowv1.ResourceList{
			Cpu:    less(capacity.GetCpu(), c.Reserved.GetCpu()),
			Memory: less(capacity.GetMemory(), c.Reserved.GetMemory()),
		},
	}
	for _, r := range c.Runtimes {
		info.Runtimes = append(info.Runtimes, r.Name())
	}
	if !c.NoWasm {
		info.Directories = slices.Sorted(maps.Keys(c.Directories))
		info.Runtimes = append(info.Runtimes, "wasm")
	}
	return info
}

func less(a, b uint64) uint64 { return a - min(a, b) }

// addressTowards is this machine's address on the way to the servers. Nothing
// is sent: UDP only looks up the route.
func addressTowards(servers []string) string {
	for _, s := range servers {
		conn, err := net.Dial("udp", s)
		if err != nil {
			continue
		}
		host, _, err := net.SplitHostPort(conn.LocalAddr().String())
		_ = conn.Close() // nothing was sent
		if err == nil {
			return host
		}
	}
	return "127.0.0.1"
}
